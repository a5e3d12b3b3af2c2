/**
 * Puts back what children of a lost host held on one queue, as far as nobody can still be running it. Runs in a
 * child, on the connection of its own Worker for that queue, with BullMQ's own token-checked call.
 */
import { type BullWorker, clientOf, runScript } from '../child/bullmq.js';
import type { Workers } from '../child/workers.js';
import type { LostHolding, WaitingJob } from '../protocol.js';
import { luaScript } from './lua-script.js';
import { jobOf, moveToWait, wake } from './move-job.js';

const LOST_JOBS = luaScript('lost-jobs');
/** Longer than a claim: if this child dies with it, the next sweep still finds the job by its token. */
const TAKEN_LOCK_MS = 30_000;

export interface Swept {
  /** false: no Worker of this child serves the queue. */
  served: boolean;
  /** Ids of jobs that are back in their queue. */
  released: string[];
  /** Jobs whose lock may still be renewed. */
  waiting: WaitingJob[];
}

/** @param sweeper unique to this child: what it takes, no other sweeper can move */
export async function sweepHolding(workers: Workers, holding: LostHolding, sweeper: string): Promise<Swept> {
  const worker = workers.find(holding);
  if (!worker) return { served: false, released: [], waiting: [] };
  const found = await takeLost(worker, holding, sweeper);
  const taken = found.filter(({ token }) => token !== '');
  const moved = await Promise.all(taken.map(({ id, token }) => moveToWait(jobOf(worker, id), token)));
  const released = taken.filter((_, at) => moved[at]).map(({ id }) => id);
  if (released.length > 0) await wake(worker);
  const waiting = found.filter(({ token }) => token === '').map(({ id, takeInMs }) => ({ id, takeInMs }));
  return { served: true, released, waiting };
}

async function takeLost(
  worker: BullWorker,
  { tokens, jobIds }: LostHolding,
  sweeper: string,
): Promise<{ id: string; token: string; takeInMs: number }[]> {
  const client = await clientOf(worker);
  if (!client) return [];
  const pairs = tokens.flatMap(({ prefix, takeBelowMs }) => [prefix, takeBelowMs ?? -1]);
  const args = [worker.toKey(''), sweeper, TAKEN_LOCK_MS, tokens.length, ...pairs, ...jobIds];
  const flat = (await runScript(client, LOST_JOBS, [worker.toKey('active')], args)) as unknown[];
  const jobs: { id: string; token: string; takeInMs: number }[] = [];
  for (let at = 0; at + 2 < flat.length; at += 3) {
    jobs.push({ id: String(flat[at]), token: String(flat[at + 1]), takeInMs: Number(flat[at + 2]) });
  }
  return jobs;
}
