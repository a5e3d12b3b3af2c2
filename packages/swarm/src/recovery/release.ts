/**
 * Puts a dead child's jobs back in their queues, or fails those that are to blame for too many deaths, or were
 * given up before.
 * Runs in a living child, on the connections of its own Workers.
 *
 * The steps are: find all, charge all, move all. A releaser may die between any two of them, and another
 * may be at the same work: what is charged is not charged again, what was moved has another token, and
 * because nothing moves before all is charged, nobody ever finds a job alone that was not.
 */
import { type BullJobClass, type BullWorker, clientOf, runScript } from '../child/bullmq.js';
import type { Workers } from '../child/workers.js';
import type { DeathNotice, Holding, JobRef, ReleasedJob } from '../protocol.js';
import { isSameJob, judgeAll, noteOf, quarantineReason, type Verdict } from './blame.js';
import { type FoundJob, findHeldJobs } from './held-jobs.js';
import { luaScript } from './lua-script.js';
import { failForGood, failOnce, jobOf, moveToWait, wake } from './move-job.js';

const CHARGE = luaScript('charge');
const MAX_NOTES = 20;
const OTHER_REDIS_MS = 1_000;

export interface ReleaseOrder {
  /** The same for everybody who releases this child's jobs. */
  releaseId: string;
  holdings: readonly Holding[];
  death: DeathNotice | null;
  quarantineAfter: number | null;
}

export interface Released {
  jobs: ReleasedJob[];
  /** Queues that no Worker of this child serves. */
  unserved: string[];
}

/** bullmq older than 5.41 has no way to put a job back without charging an attempt. */
export function canRelease(worker: BullWorker): boolean {
  return typeof (worker.Job as BullJobClass | undefined)?.prototype?.moveToWait === 'function';
}

/** @param onMoving is told of each job, and what is to become of it, before anything is done to it */
export async function releaseHoldings(
  workers: Workers,
  order: ReleaseOrder,
  onMoving: (jobs: ReleasedJob[]) => void = () => {},
): Promise<Released> {
  const served: { worker: BullWorker; holding: Holding }[] = [];
  const unserved: string[] = [];
  for (const holding of order.holdings) {
    const worker = workers.find(holding);
    if (worker) served.push({ worker, holding });
    else unserved.push(holding.queue);
  }
  const searches = served.map(({ worker, holding }) => search(worker, holding, order.releaseId));
  // one that is gone answers nothing, and the jobs on another do not wait for it
  const patienceMs = new Set(served.map(({ holding }) => holding.redisId)).size > 1 ? OTHER_REDIS_MS : null;
  const all = await within(Promise.all(searches), patienceMs);
  const { death, quarantineAfter } = order;
  const isComplete = all !== null && unserved.length === 0 && !death?.isPartlySwept;

  const charges = searches.map(async (found) => {
    const own = await found;
    const jobs = all?.flat() ?? own;
    const judgements = judgeAll(jobs, death, { isComplete, quarantineAfter });
    return Promise.all(own.map((job) => charge(job, death, judgements[jobs.indexOf(job)] as Verdict)));
  });
  await within(Promise.all(charges), patienceMs);
  const moves = charges.map(async (charged, at) => {
    const due = await charged;
    if (due.length > 0) onMoving(due.map((job) => planned(job, order)));
    const jobs = await Promise.all(due.map((job) => move(job, order)));
    const { worker } = served[at] as { worker: BullWorker };
    if (jobs.some(({ outcome }) => outcome === 'released')) await wake(worker);
    return jobs;
  });
  return { jobs: (await Promise.all(moves)).flat(), unserved };
}

interface OwedJob extends FoundJob, JobRef {
  worker: BullWorker;
}

async function search(worker: BullWorker, holding: Holding, releaseId: string): Promise<OwedJob[]> {
  const { queue, tokenPrefixes, jobIds } = holding;
  const borrowedToken = `swarm-release:${releaseId}`;
  const jobs = await findHeldJobs(worker, { tokenPrefixes, reported: { jobIds, borrowedToken } });
  return jobs.map((job) => ({ ...job, queue, worker }));
}

interface ChargedJob extends OwedJob {
  isLost: boolean;
  quarantined: boolean;
}

async function charge(
  job: OwedJob,
  death: DeathNotice | null,
  { kind, exact, shared, quarantined, named }: Verdict,
): Promise<ChargedJob> {
  const uncharged = { ...job, isLost: false, quarantined };
  if (!death || kind === 'none') return uncharged;
  const note = noteOf(death, kind, named);
  const field = kind === 'exact' ? 'swarmExact' : 'swarmShared';
  const client = await clientOf(job.worker);
  if (!client) return uncharged;
  const key = job.worker.toKey(job.id);
  const args = [job.token, field, JSON.stringify(note), note.death, MAX_NOTES];
  const written = await runScript(client, CHARGE, [key, `${key}:lock`], args);
  return {
    ...job,
    blame: { exact, shared },
    notes: [...job.notes, note],
    isLost: written === 0,
    quarantined,
  };
}

/** What is to become of it. */
function planned(job: ChargedJob, { death, quarantineAfter }: ReleaseOrder): ReleasedJob {
  const { queue, id, name, blame } = job;
  if (job.isLost) return { queue, id, name, outcome: 'finished', blame: null };
  if (job.quarantined && quarantineAfter !== null) return { queue, id, name, outcome: 'quarantined', blame };
  const isGivenUp = death?.givenUp?.some((other) => isSameJob(job, other)) ?? false;
  return { queue, id, name, outcome: isGivenUp ? 'failed' : 'released', blame };
}

async function move(job: ChargedJob, order: ReleaseOrder): Promise<ReleasedJob> {
  const plan = planned(job, order);
  const isMoved = await carryOut(job, plan.outcome, order);
  return isMoved ? plan : { ...plan, outcome: 'finished', blame: null };
}

/** false: it is no longer the dead child's. */
async function carryOut(
  { worker, queue, id, token, blame, notes }: ChargedJob,
  outcome: ReleasedJob['outcome'],
  { death, quarantineAfter }: ReleaseOrder,
): Promise<boolean> {
  switch (outcome) {
    case 'finished':
      return false;
    case 'quarantined':
      return failForGood(worker, id, token, quarantineReason(blame, notes, quarantineAfter ?? 0));
    case 'failed': {
      const givenUp = death?.givenUp?.find((other) => isSameJob({ queue, id }, other));
      return failOnce(worker, id, token, givenUp?.reason ?? '');
    }
    case 'released':
      return moveToWait(jobOf(worker, id), token);
  }
}

/** null: not by then, or failed, which is left to whoever waits for the promise itself. */
async function within<T>(promise: Promise<T>, timeoutMs: number | null): Promise<T | null> {
  if (timeoutMs === null) return promise;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(resolve, timeoutMs, null);
  });
  const result = await Promise.race([promise.catch(() => null), late]);
  clearTimeout(timer);
  return result;
}
