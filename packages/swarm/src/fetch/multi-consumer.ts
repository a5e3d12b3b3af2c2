/**
 * A consumer of all queues of a child with one number of places, one order, and two connections however many queues:
 * one for commands, one for the blocking wait. A job with blame runs alone in all of them.
 */
import { randomUUID } from 'node:crypto';
import type { Job } from 'bullmq';
import type { Cluster, Redis } from 'ioredis';
import type { BullJob, BullModule, BullWorker } from '../child/bullmq.js';
import type { JobRef } from '../protocol.js';
import { AloneGate } from './alone-gate.js';
import { type Consumer, LOCK_DURATION_MS } from './consumer.js';
import { encodeScripts } from './encoded-scripts.js';
import { type AppQueue, giveBack, LazyContext, type NameGate, runLimited } from './job-run.js';
import { Known } from './known.js';
import { QueueMarks } from './marks.js';
import { orderOf } from './order.js';
import { Pump } from './pump.js';
import { type QueueWorker, queueWorkerClass } from './queue-worker.js';
import { groupSize, ReplyGroups } from './reply-groups.js';
import { WriteBatches } from './write-batches.js';

/** From one word of a job name's limit that cannot be asked to the next. */
const UNASKED_MS = 5_000;

export interface MultiConsumerOptions {
  bullmq: BullModule;
  client: Redis | Cluster;
  /** For the blocking wait alone. */
  blocking: Redis | Cluster;
  prefix: string;
  /** Jobs at once, over all queues. */
  concurrency: number;
  queues: readonly AppQueue[];
  abortSignalOf(job: BullJob): AbortSignal;
  /** Aborts the run of a job of this Worker, of all of them without an id; whether there is one. */
  abort(worker: BullWorker, jobId: string | null, reason: string | undefined): boolean;
  /** Called for each before it takes a job. */
  onWorker(worker: BullWorker): void;
  /** Jobs that wait for their turn to run alone. */
  onWaiting(jobs: readonly JobRef[]): void;
  /** Puts a queue's marker back, for another child to see its jobs. */
  wake(worker: BullWorker): Promise<void>;
}

export class MultiConsumer implements Consumer {
  readonly #options: MultiConsumerOptions;
  #workers: QueueWorker[] = [];
  #pump: Pump<BullJob> | null = null;
  #marks: QueueMarks | null = null;
  readonly #batches: WriteBatches;
  /** Several Workers report the same error of the connection that they share. */
  readonly #reported = new WeakSet<object>();
  /** When it was said last of the limit of a job name that it cannot be asked. */
  readonly #unaskedAtMs = new WeakMap<NameGate, number>();

  constructor(options: MultiConsumerOptions) {
    this.#options = options;
    const { client, concurrency } = options;
    // a cluster's nodes have a connection each
    const stream = () => (client.isCluster ? undefined : (client as Redis).stream);
    this.#batches = new WriteBatches(stream, groupSize(concurrency));
  }

  async start(): Promise<void> {
    const { bullmq, client, blocking, concurrency, queues, abort, onWorker, onWaiting } = this.#options;
    // the blocking connection that BullMQ asks for is the one that we wait on
    Object.assign(client, { duplicate: () => blocking });
    if (!client.isCluster) encodeScripts(client as Redis);
    const gate = new AloneGate({ onOpened: () => this.#pump?.turn(), onWaiting });
    const wire = { groups: new ReplyGroups(groupSize(concurrency)), batches: this.#batches };
    const Worker = queueWorkerClass(bullmq, gate, wire, {
      onPaused: (worker) => this.#pump?.pause(this.#workers.indexOf(worker)),
      onResumed: (worker) => this.#pump?.resume(this.#workers.indexOf(worker)),
      cancel: abort,
    });
    this.#workers = queues.map((queue) => this.#open(Worker, queue));
    await Promise.all(this.#workers.map((worker) => worker.waitUntilReady()));
    const pump = this.#makePump(gate);
    this.#pump = pump;
    for (const worker of this.#workers) {
      onWorker(worker);
      await worker.run();
    }
    blocking.on('ready', () => pump.signsWereLost());
    await pump.start();
  }

  heldUp(queue: string): string | null {
    const at = this.#options.queues.findIndex(({ name }) => name === queue);
    return this.#pump?.heldUp(at) ?? null;
  }

  async close(force: boolean): Promise<void> {
    this.#pump?.stop();
    // suspects that wait for their turn hear of it
    await Promise.all(this.#workers.map((worker) => worker.pause()));
    if (!force) await this.#pump?.whenIdle();
    await this.#marks?.close();
    // what they would wait for has ended by now, or is not waited for
    await Promise.all(this.#workers.map((worker) => worker.close(true)));
    await Promise.all(this.#gates().map((gate) => gate.close()));
    this.#options.client.disconnect();
    this.#options.blocking.disconnect();
  }

  #open(Worker: ReturnType<typeof queueWorkerClass>, queue: AppQueue): QueueWorker {
    const { client, prefix, concurrency } = this.#options;
    const run = (job: BullJob, token: string) => this.#run(worker, queue, job, token);
    const own = {
      connection: client,
      prefix,
      concurrency: Math.min(concurrency, queue.maxActive ?? concurrency),
      autorun: false,
    };
    const options = { lockDuration: LOCK_DURATION_MS, ...queue.worker, ...own };
    const worker = new Worker(queue.name, run, options, new Known());
    worker.on('error', (error: Error) => this.#report(error, queue.name));
    return worker;
  }

  #makePump(permit: AloneGate): Pump<BullJob> {
    const { client, blocking, queues, concurrency, prefix } = this.#options;
    const workers = this.#workers;
    const keysOf = (worker: QueueWorker) => {
      const key = (name: string): string => worker.toKey(name);
      return {
        wait: key('wait'),
        prioritized: key('prioritized'),
        delayed: key('delayed'),
        active: key('active'),
        meta: key('meta'),
        marker: key('marker'),
      };
    };
    this.#marks = new QueueMarks({
      client,
      blocking,
      queues: workers.map(keysOf),
      wakeKey: `${prefix}:swarm-wake:${randomUUID()}`,
      onError: (error) => this.#report(error, null),
    });
    return new Pump<BullJob>({
      queues: queues.map(({ maxActive, gate }, at) => ({
        source: workers[at] as QueueWorker,
        maxActive,
        gate,
      })),
      order: orderOf(queues.map(({ weight }) => weight)),
      places: concurrency,
      marks: this.#marks,
      permit,
      onError: (error, at) => this.#report(error, at === null ? null : (queues[at]?.name ?? null)),
      nowMs: Date.now,
      after: (delayMs, then) => {
        const timer = setTimeout(then, delayMs);
        return () => clearTimeout(timer);
      },
      soon: setImmediate,
      random: Math.random,
    });
  }

  #run(worker: QueueWorker, queue: AppQueue, job: BullJob, token: string): unknown {
    const { abortSignalOf } = this.#options;
    this.#batches.flush();
    const context = new LazyContext(() => [abortSignalOf(job), worker.lostSignalOf(job)]);
    const nameGate = queue.nameGates.get(job.name);
    if (!nameGate && !worker.isSuspect(job)) return queue.process(job as Job, context);
    return this.#runInTurn(worker, queue, job as Job, token, nameGate, context);
  }

  async #runInTurn(
    worker: QueueWorker,
    queue: AppQueue,
    job: Job,
    token: string,
    nameGate: NameGate | undefined,
    context: LazyContext,
  ): Promise<unknown> {
    const { signal } = context;
    const begins = await worker.turn(job as BullJob);
    signal.throwIfAborted();
    if (!begins) await giveBack(job, token, () => this.#options.wake(worker));
    if (!nameGate) return queue.process(job, context);
    const run = (lost: AbortSignal | undefined) => queue.process(job, context.with(lost));
    return runLimited(nameGate, job, token, run, (error) => this.#reportUnasked(nameGate, error, queue.name));
  }

  /** Once in a while, however many jobs have asked. */
  #reportUnasked(nameGate: NameGate, error: unknown, queue: string): void {
    const nowMs = performance.now();
    if (nowMs - (this.#unaskedAtMs.get(nameGate) ?? Number.NEGATIVE_INFINITY) < UNASKED_MS) return;
    this.#unaskedAtMs.set(nameGate, nowMs);
    this.#report(error, queue);
  }

  #gates() {
    return this.#options.queues.flatMap(({ gate, nameGates }) => [
      ...(gate ? [gate] : []),
      ...[...nameGates.values()].map((named) => named.gate),
    ]);
  }

  #report(error: unknown, queue: string | null): void {
    if (typeof error === 'object' && error !== null) {
      if (this.#reported.has(error)) return;
      this.#reported.add(error);
    }
    const what = queue === null ? 'queues' : `queue ${queue}`;
    console.error(`${what}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
