/** The public API for apps: `defineApp`, `track`. */
import type { Job, WorkerOptions } from 'bullmq';
import { checkQueues } from './app-check.js';
import { registerApp, trackWorker } from './child/app-registration.js';
import type { FetchLimit } from './fetch/gate.js';

export interface JobContext {
  /**
   * Aborted when the job is taken from this run of it: handed back at a stop, cancelled, its lock was lost, or its time is
   * up and `--job-timeout-action` is `abort` or `kill`.
   */
  signal: AbortSignal;
}

/** What it returns is the job's return value; what it throws fails the job, as in BullMQ. */
// biome-ignore lint/suspicious/noExplicitAny: a job's data and result are whatever its producer and processor agree on
export type Processor<Data = any, Result = any> = (
  job: Job<Data, Result>,
  context: JobContext,
) => Promise<Result> | Result;

/** What runs jobs of one name. */
export type JobOptions =
  | Processor
  | {
      process: Processor;
      /**
       * Taken once such a job was fetched; a job for which there is no room is delayed, and no attempt is charged.
       * Where a whole queue is limited, limit the queue: its jobs are not even fetched.
       */
      limit?: FetchLimit;
    };

/**
 * Options of BullMQ's Worker for a queue: `settings` (backoff strategies), `limiter`, `metrics`, `telemetry`,
 * `removeOnComplete` … What swarm decides itself is left out.
 */
export type WorkerSettings = Partial<
  Omit<WorkerOptions, 'connection' | 'prefix' | 'concurrency' | 'autorun' | 'blockingConnection'>
>;

/** What every queue may have. */
export interface QueueSettings {
  /**
   * 1 to 1000. If any queue has one, the queue of each next job is drawn by weight, 1 where none is given; else
   * queues are served strictly in the order in which they stand here. `--queue` decides both anew.
   */
  weight?: number;
  /** Jobs of this queue at once in one child, at least 1; default: as many as the child runs at all. */
  maxActive?: number;
  /** While it has no room, the queue is not fetched: a job that would have to wait occupies nothing. */
  limit?: FetchLimit;
  /** Before those of the app. */
  worker?: WorkerSettings;
  /**
   * For how long a job of the queue may be active, 1,000 ms to a day; what happens then is said by
   * `--job-timeout-action`. Stands above `--job-timeout`: `'off'` for none at all.
   */
  jobTimeoutMs?: number | 'off' | undefined;
}

export type QueueOptions =
  | Processor
  | (QueueSettings & {
      /** For each job of the queue. */
      process: Processor;
      jobs?: never;
    })
  | (QueueSettings & {
      /** By `job.name`; a job of any other name fails. */
      jobs: Record<string, JobOptions>;
      process?: never;
    });

export interface AppOptions {
  /** By queue name, in the order in which `--queue` would list them. At least one. */
  queues: Record<string, QueueOptions>;
  /** Of each queue. */
  worker?: WorkerSettings;
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
 * @throws TypeError when a queue has no processor, or a setting that makes no sense
 */
export function defineApp(options: AppOptions): SwarmApp {
  checkQueues(options);
  return registerApp(options);
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
