/** Runs a swarm app in this child: boots it, takes its queues, and says how to close it. */
import type { AppOptions, Processor, QueueOptions } from '../app.js';
import type { ChildOptions } from '../child-options.js';
import { missingForAlone } from '../fetch/alone-worker.js';
import type { Consumer } from '../fetch/consumer.js';
import { StockConsumer } from '../fetch/stock-consumer.js';
import { reschedulingOverLimit } from '../limiter/around-processor.js';
import { provideSurroundings } from '../limiter/meeting.js';
import type { JobRef, QueueTimeout } from '../protocol.js';
import { wake } from '../recovery/move-job.js';
import { type ConnectionRole, connect, type RedisClient } from '../redis/connect.js';
import { parseRedisUrl } from '../redis/url.js';
import type { AppDefinition } from './app-registration.js';
import type { BullJob, FoundBullmq } from './bullmq.js';

const DEFAULT_CONCURRENCY = 5;

export interface AppSurroundings {
  warn(message: string): void;
  options: ChildOptions;
  bullmq: FoundBullmq | null;
  appFile: string;
  abortSignalOf(job: BullJob): AbortSignal;
  /** Jobs that wait for their turn to run alone. */
  onWaiting(jobs: readonly JobRef[]): void;
  /** Before it takes its first job. */
  onConsumer(consumer: Consumer): void;
  /** Of the queues that have one of their own. */
  onJobTimeouts(queues: readonly QueueTimeout[]): void;
}

/** Resolves when every queue is taken; the result closes the app, with `force` whatever still runs. */
export async function runApp(
  app: AppDefinition,
  around: AppSurroundings,
): Promise<(force: boolean) => Promise<void>> {
  const { options, bullmq } = around;
  if (!bullmq) {
    throw new Error(
      `no bullmq to be found from ${around.appFile}: install it beside the app (npm install bullmq)`,
    );
  }
  const queues = chooseQueues(app.options, options);
  if (options.queues.some(({ weight }) => weight !== null)) {
    around.warn('weights of --queue have no effect in this version: each queue has a Worker of its own');
  }
  const missing = missingForAlone(bullmq.module);
  if (missing)
    around.warn(`bullmq ${bullmq.version} has no ${missing}: jobs to blame for a death do not run alone`);
  const timeouts = queues.flatMap(([name, queue]) => timeoutOf(name, queue));
  if (timeouts.length > 0) around.onJobTimeouts(timeouts);
  const target = parseRedisUrl(options.redisUrl, '--redis');
  if (target.kind === 'cluster') checkClusterPrefix(options.prefix);
  const connectAs = (name: string, role: ConnectionRole): RedisClient =>
    connect(target, { name, role, tlsNoVerify: options.redisTlsNoVerify });
  const connection = connectAs('swarm-child', 'jobs');
  provideSurroundings({ client: connection, connect: (name) => connectAs(name, 'blocking') });
  const closeBoot = await app.options.boot?.();
  const consumer: Consumer = new StockConsumer({
    bullmq: bullmq.module,
    connection,
    prefix: options.prefix,
    concurrency: options.concurrency ?? DEFAULT_CONCURRENCY,
    queues: queues.map(([name, queue]) => ({
      name,
      process: reschedulingOverLimit(processorOf(name, queue)),
    })),
    abortSignalOf: around.abortSignalOf,
    onWaiting: around.onWaiting,
    wake,
  });
  around.onConsumer(consumer);
  await consumer.start();
  return async (force) => {
    await consumer.close(force);
    if (typeof closeBoot === 'function') await closeBoot();
  };
}

/** What a script or a blocking command names must be in one slot: all keys of all queues. */
function checkClusterPrefix(prefix: string): void {
  if (/\{[^{}]+\}/.test(prefix)) return;
  throw new Error(
    `SWARM_CLUSTER_PREFIX: --prefix ${JSON.stringify(prefix)} has no hash tag, and on Redis Cluster the keys of the queues must ` +
      `share one: --prefix '{${prefix}}' (producers: prefix: '{${prefix}}')`,
  );
}

function chooseQueues(app: AppOptions, { queues }: ChildOptions): [string, QueueOptions][] {
  const all = Object.entries(app.queues);
  if (queues.length === 0) return all;
  return queues.map(({ name }) => {
    const queue = Object.hasOwn(app.queues, name) ? app.queues[name] : undefined;
    if (queue) return [name, queue];
    const known = all.map(([known]) => known).join(', ');
    throw new Error(
      `SWARM_UNKNOWN_QUEUE: --queue names ${JSON.stringify(name)}, but the app defines ${known}`,
    );
  });
}

function timeoutOf(name: string, queue: QueueOptions): QueueTimeout[] {
  if (typeof queue === 'function' || queue.jobTimeoutMs === undefined) return [];
  return [{ queue: name, timeoutMs: queue.jobTimeoutMs === 'off' ? null : queue.jobTimeoutMs }];
}

function processorOf(queueName: string, queue: QueueOptions): Processor {
  if (typeof queue === 'function') return queue;
  if (queue.process) return queue.process;
  const { jobs } = queue;
  return (job, context) => {
    const processor = Object.hasOwn(jobs, job.name) ? jobs[job.name] : undefined;
    if (processor) return processor(job, context);
    const known = Object.keys(jobs).join(', ');
    throw new Error(
      `queue ${queueName} has no processor for jobs named ${JSON.stringify(job.name)}, only for ${known}`,
    );
  };
}
