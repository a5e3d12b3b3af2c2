/**
 * An active job's ways out of `active`, by BullMQ's own token-checked calls: whoever lost a race gets a
 * clean error, and no job is ever put back twice.
 */
import { type BullJob, type BullWorker, clientOf, runScript } from '../child/bullmq.js';
import { luaScript } from './lua-script.js';

const WAKE = luaScript('wake');
/** What BullMQ's scripts say of a job that is not ours: no such job, no lock, not active, somebody else's lock. */
const LOST_RACE_CODES: readonly unknown[] = [-1, -2, -3, -6];
/** Older releases give no code. */
const LOST_RACE_MESSAGE =
  /^(Missing key|Missing lock|Lock mismatch) for job |^Job .* is not in the active state/;

/** Attempts untouched. false: it was no longer ours, by its lock or altogether. What else goes wrong is thrown. */
export function moveToWait(job: BullJob, token: string): Promise<boolean> {
  return unlessLost(() => job.moveToWait(token));
}

/** A job by its id alone, as good as any for `moveToWait`. */
export function jobOf(worker: BullWorker, id: string): BullJob {
  return new worker.Job(worker, '', {}, {}, id);
}

/** Fails it for good, whatever attempts it has left, and tells the app's listeners. false: it was no longer ours. */
export function failForGood(worker: BullWorker, id: string, token: string, reason: string): Promise<boolean> {
  return fail(worker, id, token, { name: 'UnrecoverableError', reason });
}

/** Fails it as if it had thrown: an attempt is charged, and if it has more, it is tried again. false: it was no longer ours. */
export function failOnce(worker: BullWorker, id: string, token: string, reason: string): Promise<boolean> {
  return fail(worker, id, token, { name: 'JobTimeoutError', reason });
}

async function fail(
  worker: BullWorker,
  id: string,
  token: string,
  { name, reason }: { name: string; reason: string },
): Promise<boolean> {
  // the whole job: what happens to its parent, and whether it is kept or tried again, is in its options
  const job = await worker.Job.fromId(worker, id);
  if (!job) return false;
  const error = new Error(reason);
  error.name = name;
  // where it was made says nothing about the job
  error.stack = `${error.name}: ${reason}`;
  const failed = await unlessLost(() => job.moveToFailed(error, token, false));
  if (failed) worker.emit('failed', job, error, 'active');
  return failed;
}

/** For jobs that were put back, or a marker that was taken in vain. */
export async function wake(worker: BullWorker): Promise<void> {
  const client = await clientOf(worker);
  if (!client) return;
  const keys = ['marker', 'meta', 'wait', 'prioritized', 'delayed'].map((name) => worker.toKey(name));
  await runScript(client, WAKE, keys, []);
}

async function unlessLost(move: () => Promise<unknown>): Promise<boolean> {
  try {
    await move();
    return true;
  } catch (error) {
    if (isLostRace(error)) return false;
    throw error;
  }
}

export function isLostRace(error: unknown): boolean {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  return LOST_RACE_CODES.includes(code) || LOST_RACE_MESSAGE.test(String(message));
}
