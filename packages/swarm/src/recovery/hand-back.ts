/** Puts back in their queues what this child still holds at the end of its drain, running or not. */
import type { BullWorker } from '../child/bullmq.js';
import type { HeldJob, Workers } from '../child/workers.js';
import type { ActiveJob } from '../protocol.js';
import { findHeldJobs } from './held-jobs.js';
import { jobOf, moveToWait, wake } from './move-job.js';

/** Returns the jobs that are back in their queue. What was given up stays where it is. */
export async function handBack(workers: Workers): Promise<ActiveJob[]> {
  const held = workers.held;
  const unfinished = held.filter(({ givenUp }) => !givenUp);
  const moved = await Promise.all(unfinished.map(({ job, token }) => moveToWait(job, token)));
  const handedBack = unfinished.filter((_, at) => moved[at]);
  for (const job of handedBack) {
    job.stale = true;
    // it is no longer ours to renew, and BullMQ would say so on the app's stderr
    job.worker.lockManager?.untrackJob?.(job.id);
    job.abort?.abort(new Error('the job was handed back: its child stops'));
  }
  const strays = await Promise.all(workers.list.map((worker) => handBackStrays(worker, held)));
  for (const worker of new Set(handedBack.map((job) => job.worker))) await wake(worker);
  return [
    ...handedBack.map(({ queue, id, name, startedAtMs }) => ({ queue, id, name, startedAtMs })),
    ...strays.flat(),
  ];
}

/** Jobs that carry this Worker's tokens although nobody here runs them: fetched, but not yet begun. */
async function handBackStrays(worker: BullWorker, known: readonly HeldJob[]): Promise<ActiveJob[]> {
  const found = await findHeldJobs(worker, { tokenPrefixes: [`${worker.id}:`] });
  const strays = found.filter(({ id }) => !known.some((job) => job.worker === worker && job.id === id));
  const moved = await Promise.all(strays.map(({ id, token }) => moveToWait(jobOf(worker, id), token)));
  if (moved.includes(true)) await wake(worker);
  return strays
    .filter((_, at) => moved[at])
    .map(({ id, name }) => ({ queue: worker.name, id, name, startedAtMs: Date.now() }));
}
