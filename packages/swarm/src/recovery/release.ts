/**
 * Puts jobs back in their queue: a dead child's, found by its lock tokens, or our own, handed back at
 * the end of a drain. Runs in a child, on the connection of one of its own Workers, with BullMQ's own
 * token-checked call: whoever lost a race gets a clean error, and no job is ever put back twice.
 */
import { readFileSync } from 'node:fs';
import { type BullJobClass, type BullWorker, clientOf, runScript } from '../child/bullmq.js';
import type { HeldJob, Workers } from '../child/workers.js';
import type { ActiveJob, Holding, ReleasedJob } from '../protocol.js';

const HELD_JOBS = script('held-jobs');
const WAKE = script('wake');
/** Long enough to move a job, short enough not to keep it if this child dies meanwhile. */
const BORROWED_LOCK_MS = 10_000;

export interface Released {
  jobs: ReleasedJob[];
  /** Queues that no Worker of this child serves. */
  unserved: string[];
}

/** bullmq older than 5.56 has no way to put a job back without charging an attempt. */
export function canRelease(worker: BullWorker): boolean {
  return typeof (worker.Job as BullJobClass | undefined)?.prototype?.moveToWait === 'function';
}

export async function releaseHoldings(
  workers: Workers,
  holdings: readonly Holding[],
  releaser: string,
): Promise<Released> {
  const jobs: ReleasedJob[] = [];
  const unserved: string[] = [];
  await Promise.all(
    holdings.map(async (holding) => {
      const worker = workers.find(holding);
      if (worker) jobs.push(...(await releaseHolding(worker, holding, releaser)));
      else unserved.push(holding.queue);
    }),
  );
  return { jobs, unserved };
}

async function releaseHolding(
  worker: BullWorker,
  holding: Holding,
  releaser: string,
): Promise<ReleasedJob[]> {
  const held = await findHeld(worker, holding.tokenPrefixes, holding.jobIds, `swarm-release:${releaser}`);
  const jobs = await Promise.all(
    held.map(async ({ id, token }): Promise<ReleasedJob> => {
      const moved = await moveToWait(new worker.Job(worker, '', {}, {}, id), token);
      return { queue: holding.queue, id, outcome: moved ? 'released' : 'finished' };
    }),
  );
  if (jobs.some(({ outcome }) => outcome === 'released')) await wake(worker);
  return jobs;
}

/** Hands back what this child still holds, running or not. Returns the jobs that are back in their queue. */
export async function handBack(workers: Workers): Promise<ActiveJob[]> {
  const held = workers.held;
  const moved = await Promise.all(held.map(({ job, token }) => moveToWait(job, token)));
  const handedBack = held.filter((_, at) => moved[at]);
  for (const { abort, worker, id } of handedBack) {
    // it is no longer ours to renew, and BullMQ would say so on the app's stderr
    worker.lockManager?.untrackJob?.(id);
    abort?.abort(new Error('the job was handed back: its child stops'));
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
  const held = await findHeld(worker, [`${worker.id}:`], [], '');
  const strays = held.filter(({ token }) => !known.some((job) => job.token === token));
  const moved = await Promise.all(
    strays.map(({ id, token }) => moveToWait(new worker.Job(worker, '', {}, {}, id), token)),
  );
  if (moved.includes(true)) await wake(worker);
  return strays
    .filter((_, at) => moved[at])
    .map(({ id }) => ({ queue: worker.name, id, name: '', startedAtMs: Date.now() }));
}

async function findHeld(
  worker: BullWorker,
  tokenPrefixes: readonly string[],
  jobIds: readonly string[],
  borrowedToken: string,
): Promise<{ id: string; token: string }[]> {
  const client = await clientOf(worker);
  if (!client) return [];
  const reply = await runScript(
    client,
    HELD_JOBS,
    [worker.toKey('active')],
    [worker.toKey(''), borrowedToken, BORROWED_LOCK_MS, tokenPrefixes.length, ...tokenPrefixes, ...jobIds],
  );
  const flat = (reply as unknown[]).map(String);
  return flat.flatMap((id, at) => (at % 2 === 0 ? [{ id, token: flat[at + 1] as string }] : []));
}

/** false: it was no longer ours, by its lock or altogether. What else goes wrong is thrown. */
export async function moveToWait(
  job: { moveToWait(token: string): Promise<unknown> },
  token: string,
): Promise<boolean> {
  try {
    await job.moveToWait(token);
    return true;
  } catch (error) {
    if (isLostRace(error)) return false;
    throw error;
  }
}

/** BullMQ's script errors carry their code: no such job, no lock, not active, somebody else's lock. */
function isLostRace(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'number' && [-1, -2, -3, -6].includes(code);
}

export async function wake(worker: BullWorker): Promise<void> {
  const client = await clientOf(worker);
  if (!client) return;
  await runScript(
    client,
    WAKE,
    [worker.toKey('prioritized'), worker.toKey('meta'), worker.toKey('marker')],
    [],
  );
}

function script(name: string): { name: string; lua: string } {
  const lua = readFileSync(new URL(`./${name}.lua`, import.meta.url), 'utf8');
  return { name: `swarm${name.replace('-', '')}`, lua };
}
