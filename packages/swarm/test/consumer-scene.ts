/** A consumer of a child, with queues of its own on a test's Redis; all of it ends with the test. */
import { randomBytes } from 'node:crypto';
import type { TestContext } from 'node:test';
import type { Job, Queue, QueueEvents } from 'bullmq';
import { Redis } from 'ioredis';
import type { JobContext } from '../dist/app.js';
import type { BullJob, BullModule, BullWorker } from '../dist/child/bullmq.js';
import type { FetchGate } from '../dist/fetch/gate.js';
import type { AppQueue } from '../dist/fetch/job-run.js';
import { MultiConsumer } from '../dist/fetch/multi-consumer.js';
import { wake } from '../dist/recovery/move-job.js';
import type { BullmqRelease } from './bullmq-releases.js';

export type Run = (job: Job, context: JobContext) => unknown;

export interface ConsumerScene {
  queues: Queue[];
  /** The n-th queue. */
  queue(at: number): Queue;
  events(at: number): Promise<QueueEvents>;
  consume(run: Run, options?: ConsumeOptions): Promise<Consumed>;
}

export interface ConsumeOptions {
  concurrency?: number;
  /** By queue. */
  weights?: (number | null)[];
  maxActive?: (number | null)[];
  gates?: (FetchGate | null)[];
  nameGates?: AppQueue['nameGates'];
  /** Options of BullMQ's Worker. */
  worker?: object;
}

export interface Consumed {
  workers: BullWorker[];
  client: Redis;
  blocking: Redis;
  /** Jobs that run now. */
  running: Set<string>;
  /** The most at once. */
  peak: () => number;
  stop(): Promise<void>;
}

export function openScene(t: TestContext, { module }: BullmqRelease, port: number, count = 1): ConsumerScene {
  const connection = { host: '127.0.0.1', port };
  const queues: Queue[] = Array.from({ length: count }, () => {
    const queue = new module.Queue(`q${randomBytes(4).toString('hex')}`, { connection });
    t.after(() => queue.close());
    return queue;
  });
  const queue = (at: number): Queue => queues[at] as Queue;
  return {
    queues,
    queue,
    events: async (at) => {
      const events = new module.QueueEvents(queue(at).name, { connection });
      t.after(() => events.close());
      await events.waitUntilReady();
      return events;
    },
    consume: (run, options = {}) => consume(t, module as unknown as BullModule, port, queues, run, options),
  };
}

async function consume(
  t: TestContext,
  bullmq: BullModule,
  port: number,
  queues: readonly Queue[],
  run: Run,
  { concurrency = 5, weights, maxActive, gates, nameGates = new Map(), worker = {} }: ConsumeOptions,
): Promise<Consumed> {
  const workers: BullWorker[] = [];
  const running = new Set<string>();
  const aborts = new Map<BullJob, AbortController>();
  const abortOf = (job: BullJob): AbortController => {
    const abort = aborts.get(job) ?? new AbortController();
    aborts.set(job, abort);
    return abort;
  };
  let peak = 0;
  const process = async (job: Job, context: JobContext): Promise<unknown> => {
    const key = `${job.queueName}/${job.id}`;
    running.add(key);
    peak = Math.max(peak, running.size);
    try {
      return await run(job, context);
    } finally {
      running.delete(key);
      aborts.delete(job as BullJob);
    }
  };
  const connect = (): Redis => new Redis({ port, maxRetriesPerRequest: null, retryStrategy: () => 50 });
  const client = connect();
  const blocking = connect();
  for (const one of [client, blocking]) one.on('error', () => {});
  const consumer = new MultiConsumer({
    bullmq,
    client,
    blocking,
    prefix: 'bull',
    concurrency,
    queues: queues.map(({ name }, at) => ({
      name,
      process,
      weight: weights?.[at] ?? null,
      maxActive: maxActive?.[at] ?? null,
      gate: gates?.[at] ?? null,
      nameGates,
      worker,
    })),
    abortSignalOf: (job) => abortOf(job).signal,
    abort: (owner, jobId, reason) => {
      const found = [...aborts.keys()].filter(({ id }) => jobId === null || id === jobId);
      if (workers.includes(owner)) for (const job of found) abortOf(job).abort(reason);
      return found.length > 0;
    },
    onWorker: (one) => void workers.push(one),
    onWaiting: () => {},
    wake,
  });
  let stopped: Promise<void> | null = null;
  const stop = (): Promise<void> => {
    stopped ??= consumer.close(false);
    return stopped;
  };
  // what runs on after a test that failed is not waited for
  t.after(() => Promise.race([stop(), new Promise((resolve) => setTimeout(resolve, 2_000).unref())]));
  await consumer.start();
  return { workers, client, blocking, running, peak: () => peak, stop };
}
