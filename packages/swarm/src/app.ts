/** The public API for apps: `defineApp`, `track`. */
import type { Job } from 'bullmq';
import { registerApp, trackWorker } from './child/app-registration.js';

export interface JobContext {
  /**
   * Aborted when the job is taken from this run of it: handed back at a stop, its lock was lost, or its time is up and
   * `--job-timeout-action` is `abort` or `kill`.
   */
  signal: AbortSignal;
}

/** What it returns is the job's return value; what it throws fails the job, as in BullMQ. */
// biome-ignore lint/suspicious/noExplicitAny: a job's data and result are whatever its producer and processor agree on
export type Processor<Data = any, Result = any> = (
  job: Job<Data, Result>,
  context: JobContext,
) => Promise<Result> | Result;

export type QueueOptions =
  | Processor
  | {
      /** For each job of the queue. */
      process: Processor;
      jobs?: never;
      jobTimeoutMs?: JobTimeout;
    }
  | {
      /** By `job.name`; a job of any other name fails. */
      jobs: Record<string, Processor>;
      process?: never;
      jobTimeoutMs?: JobTimeout;
    };

/**
 * For how long a job of the queue may be active, 1,000 ms to a day; what happens then is said by
 * `--job-timeout-action`. Stands above `--job-timeout`: `'off'` for none at all.
 */
type JobTimeout = number | 'off' | undefined;

const MIN_TIMEOUT_MS = 1_000;
const MAX_TIMEOUT_MS = 24 * 3_600_000;

export interface AppOptions {
  /** By queue name, in the order in which `--queue` would list them. At least one. */
  queues: Record<string, QueueOptions>;
  /**
   * Runs once in each child before it takes jobs. What it returns is called after the drain, and has 2 s.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: a boot that returns nothing is the usual one
  boot?: () => Promise<(() => unknown) | void> | (() => unknown) | void;
}

/** An app that swarm runs; made by {@link defineApp}. */
export interface SwarmApp {
  options: AppOptions;
}

/**
 * Declares the queues that each child works for, and how. The module that calls it is the app:
 * `export default defineApp({ … })`, run with `swarm ./worker.js`. Loaded in any other way (a test, a
 * producer that shares code), it does nothing by itself.
 *
 * @throws TypeError when a queue has no processor, or a timeout that is none
 */
export function defineApp(options: AppOptions): SwarmApp {
  const names = Object.keys(options?.queues ?? {});
  if (names.length === 0)
    throw new TypeError('defineApp() takes { queues: { name: processor } }, got no queue');
  for (const name of names) {
    const queue = options.queues[name];
    const processors =
      typeof queue === 'function'
        ? [queue]
        : queue?.process
          ? [queue.process]
          : Object.values(queue?.jobs ?? {});
    if (processors.length === 0 || !processors.every((processor) => typeof processor === 'function')) {
      throw new TypeError(
        `defineApp(): queue ${JSON.stringify(name)} takes a function, { process: function } or { jobs: { name: function } }`,
      );
    }
    if (typeof queue === 'object') checkTimeout(name, queue.jobTimeoutMs);
  }
  return registerApp(options);
}

function checkTimeout(queueName: string, timeout: unknown): void {
  if (timeout === undefined || timeout === 'off') return;
  if (typeof timeout === 'number' && timeout >= MIN_TIMEOUT_MS && timeout <= MAX_TIMEOUT_MS) return;
  throw new TypeError(
    `defineApp(): jobTimeoutMs of queue ${JSON.stringify(queueName)} takes 'off', or milliseconds from ` +
      `${MIN_TIMEOUT_MS} to ${MAX_TIMEOUT_MS}, got ${typeof timeout === 'number' ? timeout : JSON.stringify(timeout)}`,
  );
}

/**
 * Shows a BullMQ Worker to swarm where its class is hidden from it, because a bundler inlined bullmq.
 * Call it right after `new Worker(…)`. In any other program, and without swarm, it does nothing.
 *
 * @returns the same Worker
 */
export function track<W>(worker: W): W {
  trackWorker(worker);
  return worker;
}
