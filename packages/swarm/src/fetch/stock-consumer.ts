/**
 * A consumer of one BullMQ Worker a queue, on one shared connection and a blocking one each. A job with blame
 * runs alone in all of them.
 */
import type { Job } from 'bullmq';
import type { Cluster, Redis } from 'ioredis';
import type { Processor } from '../app.js';
import type { BullJob, BullModule, BullWorker } from '../child/bullmq.js';
import type { JobRef } from '../protocol.js';
import { AloneGate } from './alone-gate.js';
import { type AloneWorker, aloneWorkerClass } from './alone-worker.js';
import { type Consumer, LOCK_DURATION_MS } from './consumer.js';
import { giveBack } from './job-run.js';

export interface StockConsumerOptions {
  bullmq: BullModule;
  connection: Redis | Cluster;
  prefix: string;
  /** Of each queue. */
  concurrency: number;
  queues: readonly { name: string; process: Processor }[];
  abortSignalOf(job: BullJob): AbortSignal;
  /** Jobs that wait for their turn to run alone. */
  onWaiting(jobs: readonly JobRef[]): void;
  /** Puts a queue's marker back, for another child to see its jobs. */
  wake(worker: BullWorker): Promise<void>;
}

export class StockConsumer implements Consumer {
  readonly #options: StockConsumerOptions;
  #workers: AloneWorker[] = [];
  #gate: AloneGate | null = null;

  constructor(options: StockConsumerOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { bullmq, connection, prefix, concurrency, queues, onWaiting, wake } = this.#options;
    const gate = new AloneGate({
      onOpened: () => {
        for (const worker of this.#workers) worker.onOpened();
      },
      onWaiting,
    });
    this.#gate = gate;
    const Worker = aloneWorkerClass(bullmq, gate, wake);
    this.#workers = queues.map(({ name, process: processor }) => {
      const run = (job: Job, token: string, signal?: AbortSignal) =>
        this.#run(worker, processor, job, token, signal);
      const options = { connection, prefix, concurrency, lockDuration: LOCK_DURATION_MS, autorun: false };
      const worker = new Worker(name, run, options);
      worker.on('error', (error: Error) => console.error(`queue ${name}: ${error.message}`));
      return worker;
    });
    for (const worker of this.#workers) worker.run().catch((error: unknown) => worker.emit('error', error));
    await Promise.all(this.#workers.map((worker) => worker.waitUntilReady()));
  }

  async #run(
    worker: AloneWorker,
    processor: Processor,
    job: Job,
    token: string,
    bullSignal: AbortSignal | undefined,
  ): Promise<unknown> {
    const signal = this.#signal(job, bullSignal);
    const turn = await worker.turn(job as BullJob);
    signal.throwIfAborted();
    if (turn === 'leave') await giveBack(job, token, () => this.#options.wake(worker));
    return processor(job, { signal });
  }

  heldUp(): string | null {
    return this.#gate?.isOpen === false ? 'a job runs alone' : null;
  }

  async close(force: boolean): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.close(force)));
    this.#options.connection.disconnect();
  }

  /** BullMQ's own signal says that the lock was lost (newer releases have it), ours that the job was taken. */
  #signal(job: Job, bullSignal: AbortSignal | undefined): AbortSignal {
    const ours = this.#options.abortSignalOf(job as BullJob);
    return bullSignal ? AbortSignal.any([ours, bullSignal]) : ours;
  }
}
