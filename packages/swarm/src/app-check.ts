/** What `defineApp` accepts, checked where it is written: later, nobody would know which line it was. */
import type { AppOptions, JobOptions, QueueOptions } from './app.js';
import { didYouMean } from './suggest.js';

const APP_KEYS = ['queues', 'worker', 'boot'];
const QUEUE_KEYS = ['process', 'jobs', 'weight', 'maxActive', 'limit', 'worker', 'jobTimeoutMs'];
const JOB_KEYS = ['process', 'limit'];
const MAX_WEIGHT = 1_000;
const MIN_TIMEOUT_MS = 1_000;
const MAX_TIMEOUT_MS = 24 * 3_600_000;

/** @throws TypeError which names the queue, what it takes and what it got, or the key that is none */
export function checkQueues(options: AppOptions): void {
  checkKeys('the app', options, APP_KEYS);
  const queues = Object.entries(options?.queues ?? {});
  if (queues.length === 0)
    throw new TypeError('defineApp() takes { queues: { name: processor } }, got no queue');
  for (const [name, queue] of queues) checkQueue(`queue ${JSON.stringify(name)}`, queue);
}

function checkQueue(where: string, queue: QueueOptions): void {
  if (typeof queue === 'function') return;
  checkKeys(where, queue, QUEUE_KEYS);
  for (const [name, job] of Object.entries(queue?.jobs ?? {}))
    checkKeys(`job ${JSON.stringify(name)} of ${where}`, job, JOB_KEYS);
  const jobs = queue?.process ? [queue.process] : Object.values(queue?.jobs ?? {});
  if (jobs.length === 0 || !jobs.every(hasProcessor)) {
    throw new TypeError(
      `defineApp(): ${where} takes a function, { process: function } or { jobs: { name: function } }, ` +
        'where { process: function, limit } may stand for a function',
    );
  }
  checkNumber(`weight of ${where}`, queue.weight, MAX_WEIGHT);
  checkNumber(`maxActive of ${where}`, queue.maxActive, Number.MAX_SAFE_INTEGER);
  checkTimeout(where, queue.jobTimeoutMs);
  checkLimit(`limit of ${where}`, queue.limit);
  for (const [name, job] of Object.entries(queue.jobs ?? {})) {
    if (typeof job !== 'function') checkLimit(`limit of job ${JSON.stringify(name)} of ${where}`, job.limit);
  }
}

/** A setting with a slip in its name would be one that silently does nothing. */
function checkKeys(what: string, value: unknown, known: readonly string[]): void {
  if (typeof value !== 'object' || value === null) return;
  const key = Object.keys(value).find((candidate) => !known.includes(candidate));
  if (key === undefined) return;
  const cure = didYouMean(key, known) || `, it takes ${known.join(', ')}`;
  throw new TypeError(`defineApp(): ${what} has an unknown key ${JSON.stringify(key)}${cure}`);
}

function hasProcessor(job: JobOptions): boolean {
  return typeof job === 'function' || typeof job?.process === 'function';
}

function checkNumber(what: string, value: unknown, max: number): void {
  if (value === undefined) return;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= max) return;
  const bound = max === Number.MAX_SAFE_INTEGER ? 'of at least 1' : `from 1 to ${max}`;
  throw new TypeError(
    `defineApp(): ${what} takes a whole number ${bound}, got ${JSON.stringify(value) ?? typeof value}`,
  );
}

function checkLimit(what: string, value: unknown): void {
  if (value === undefined) return;
  if (typeof (value as { openGate?: unknown } | null)?.openGate === 'function') return;
  throw new TypeError(`defineApp(): ${what} takes a Limiter of bullmq-swarm/limiter, got ${typeof value}`);
}

function checkTimeout(where: string, timeout: unknown): void {
  if (timeout === undefined || timeout === 'off') return;
  if (typeof timeout === 'number' && timeout >= MIN_TIMEOUT_MS && timeout <= MAX_TIMEOUT_MS) return;
  throw new TypeError(
    `defineApp(): jobTimeoutMs of ${where} takes 'off', or milliseconds from ` +
      `${MIN_TIMEOUT_MS} to ${MAX_TIMEOUT_MS}, got ${typeof timeout === 'number' ? timeout : JSON.stringify(timeout)}`,
  );
}
