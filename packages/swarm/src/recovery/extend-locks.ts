/**
 * Extends the locks of a living child that cannot do it itself. Runs in a sibling, on the connection of its own
 * Worker for the same queue, with BullMQ's own call: it extends a lock only if it has the token that was
 * found, so that a job which has ended meanwhile, or is somebody else's by now, is left alone.
 */
import type { BullWorker } from '../child/bullmq.js';
import type { Workers } from '../child/workers.js';
import type { LockHolding } from '../protocol.js';
import { findHeldJobs } from './held-jobs.js';
import { jobOf } from './move-job.js';

export interface Extended {
  /** How many locks have their whole time again. */
  extended: number;
  /** Queues that no Worker of this child serves. */
  unserved: string[];
}

export async function extendLocks(workers: Workers, holdings: readonly LockHolding[]): Promise<Extended> {
  const served: Promise<number>[] = [];
  const unserved: string[] = [];
  for (const holding of holdings) {
    const worker = workers.find(holding);
    if (worker) served.push(extend(worker, holding));
    else unserved.push(holding.queue);
  }
  const counts = await Promise.all(served);
  return { extended: counts.reduce((sum, count) => sum + count, 0), unserved };
}

async function extend(worker: BullWorker, { tokenPrefix, durationMs }: LockHolding): Promise<number> {
  const found = await findHeldJobs(worker, { tokenPrefixes: [tokenPrefix] });
  const replies = await Promise.all(
    found.map(({ id, token }) => jobOf(worker, id).extendLock(token, durationMs)),
  );
  return replies.filter((reply) => reply === 1).length;
}
