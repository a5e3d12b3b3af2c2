/**
 * A job that is over a limit comes back later, and no attempt of it is used up. How often it did is in its own hash,
 * field `swarmOverrated`, gone with the job; in a swarm app it is taken out when the job succeeds.
 */
import { type BullClient, type BullWorker, clientOf, runScript } from '../child/bullmq.js';
import { isOverLimit, type OverLimitError } from './over-limit.js';

/** As much of a BullMQ job (5 or 6) as it takes. */
export interface ReschedulableJob {
  id?: string | undefined;
  attemptsMade: number;
  attemptsStarted?: number;
  moveToDelayed(timestampMs: number, token?: string): Promise<void>;
}

const FIELD = 'swarmOverrated';

/** Only of a job that there is, and that is still this run's. KEYS: job, lock. ARGV: token, field. */
const COUNT = {
  name: 'swarmoverrated',
  lua: `
if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return -1
end
return redis.call('HINCRBY', KEYS[1], ARGV[2], 1)`,
};

const FORGET = { name: 'swarmnotoverrated', lua: "return redis.call('HDEL', KEYS[1], ARGV[1])" };

/**
 * For processors of stock Workers; a swarm app does it by itself.
 *
 * ```ts
 * new Worker('mail', async (job, token) => {
 *   try {
 *     return await limiter.withinLimit(() => send(job.data));
 *   } catch (error) {
 *     return rescheduleOverLimit(job, token, error);
 *   }
 * }, { connection });
 * ```
 *
 * Always rejects: after it has delayed the job with BullMQ's `DelayedError`, which leaves the job alone; with `error`
 * itself when that is no `OverLimitError`, or when the job was over a limit more often than its limiter allows
 * (`maxReschedules`), and then it fails as ever.
 */
export async function rescheduleOverLimit(
  job: ReschedulableJob,
  token: string | undefined,
  error: unknown,
): Promise<never> {
  if (!isOverLimit(error)) throw error;
  const overrated = await countOverrated(job, token);
  const { maxReschedules, backoffMs } = error.policy;
  if (overrated > maxReschedules) throw tooOften(error, overrated);
  await delayJob(job, token, backoffMs(overrated, error));
  throw delayedError(`over the limit of ${error.limiter} for the ${overrated}. time`);
}

export async function delayJob(
  job: Pick<ReschedulableJob, 'moveToDelayed'>,
  token: string | undefined,
  delayMs: number,
): Promise<void> {
  const wholeMs = Number.isFinite(delayMs) ? Math.max(0, Math.round(delayMs)) : 0;
  await job.moveToDelayed(Date.now() + wholeMs, token);
}

/** Not so if it was started no more often than its attempts say: then it was never put back. */
export function mayBeOverrated({ attemptsStarted, attemptsMade }: ReschedulableJob): boolean {
  return (attemptsStarted ?? Number.POSITIVE_INFINITY) > attemptsMade + 1;
}

/** After a success of a job that may have been over a limit before. */
export async function forgetOverrated(job: ReschedulableJob): Promise<void> {
  if (!mayBeOverrated(job)) return;
  const keys = await keysOf(job);
  if (keys) await runScript(keys.client, FORGET, [keys.job], [FIELD]);
}

/** How BullMQ is told that a job has left by itself: by its name, in all releases. */
function delayedError(message: string): Error {
  const error = new Error(message);
  error.name = 'DelayedError';
  return error;
}

function tooOften(error: OverLimitError, overrated: number): Error {
  error.message = `${error.message}; it was rescheduled ${overrated - 1} times in a row`;
  return error;
}

async function countOverrated(job: ReschedulableJob, token: string | undefined): Promise<number> {
  const keys = await keysOf(job);
  // a sandboxed processor has no connection: what it was started without being charged is the best guess
  if (!keys) return Math.max(1, (job.attemptsStarted ?? 1) - job.attemptsMade);
  const count = Number(
    await runScript(keys.client, COUNT, [keys.job, `${keys.job}:lock`], [token ?? '', FIELD]),
  );
  // no longer this run's: the call that moves it says so in BullMQ's words
  return count < 0 ? 1 : count;
}

/** Of the Worker that made the job, which has its connection. */
async function keysOf(job: ReschedulableJob): Promise<{ client: BullClient; job: string } | null> {
  const { queue: worker, id } = job as ReschedulableJob & { queue?: Partial<BullWorker> };
  if (!worker || id === undefined || typeof worker.toKey !== 'function') return null;
  const client = await clientOf(worker as BullWorker);
  return client ? { client, job: worker.toKey(id) } : null;
}
