/** A consumer of one stock BullMQ Worker a queue, on one shared connection and a blocking one each. */
import type { Job } from 'bullmq';
import type { Cluster, Redis } from 'ioredis';
import type { Processor } from '../app.js';
import type { BullJob, BullModule, BullWorker } from '../child/bullmq.js';
import type { Consumer } from './consumer.js';

/** Renewed at half of it: a loop that is blocked for less than 30 s loses no job. */
const LOCK_DURATION_MS = 60_000;

export interface StockConsumerOptions {
  bullmq: BullModule;
  connection: Redis | Cluster;
  prefix: string;
  /** Of each queue. */
  concurrency: number;
  queues: readonly { name: string; process: Processor }[];
  abortSignalOf(job: BullJob): AbortSignal;
}

export class StockConsumer implements Consumer {
  readonly #options: StockConsumerOptions;
  #workers: BullWorker[] = [];

  constructor(options: StockConsumerOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { bullmq, connection, prefix, concurrency, queues } = this.#options;
    this.#workers = queues.map(({ name, process: processor }) => {
      const run = (job: Job, _token: string, signal?: AbortSignal) =>
        processor(job, { signal: this.#signal(job, signal) });
      const worker = new bullmq.Worker(name, run, {
        connection,
        prefix,
        concurrency,
        lockDuration: LOCK_DURATION_MS,
      });
      worker.on('error', (error: Error) => console.error(`queue ${name}: ${error.message}`));
      return worker;
    });
    await Promise.all(this.#workers.map((worker) => worker.waitUntilReady()));
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.close()));
    this.#options.connection.disconnect();
  }

  /** BullMQ's own signal says that the lock was lost (newer releases have it), ours that the job was taken. */
  #signal(job: Job, bullSignal: AbortSignal | undefined): AbortSignal {
    const ours = this.#options.abortSignalOf(job as BullJob);
    return bullSignal ? AbortSignal.any([ours, bullSignal]) : ours;
  }
}
