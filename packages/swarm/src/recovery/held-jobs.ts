/** Active jobs by their lock tokens: BullMQ moves a job to `active` and sets its lock in one script. */
import { type BullWorker, clientOf, runScript } from '../child/bullmq.js';
import type { Blame } from '../protocol.js';
import { type DeathNote, parseNotes } from './blame.js';
import { luaScript } from './lua-script.js';

const HELD_JOBS = luaScript('held-jobs');
/** Long enough to move a job, short enough not to keep it if this child dies meanwhile. */
const BORROWED_LOCK_MS = 10_000;

export interface FoundJob {
  id: string;
  /** With it the job can be moved. */
  token: string;
  name: string;
  blame: Blame;
  notes: DeathNote[];
}

export interface HeldJobsQuery {
  tokenPrefixes: readonly string[];
  /** Jobs without a lock that count too, and the token that their lock is taken with. */
  reported?: { jobIds: readonly string[]; borrowedToken: string };
}

export async function findHeldJobs(
  worker: BullWorker,
  { tokenPrefixes, reported }: HeldJobsQuery,
): Promise<FoundJob[]> {
  const client = await clientOf(worker);
  if (!client) return [];
  const { jobIds, borrowedToken } = reported ?? { jobIds: [], borrowedToken: '' };
  const reply = await runScript(
    client,
    HELD_JOBS,
    [worker.toKey('active')],
    [worker.toKey(''), borrowedToken, BORROWED_LOCK_MS, tokenPrefixes.length, ...tokenPrefixes, ...jobIds],
  );
  return (reply as (string | null)[][]).map(([id, token, name, exact, shared, deaths]) => ({
    id: String(id),
    token: String(token),
    name: name ?? '',
    blame: { exact: countOf(exact), shared: countOf(shared) },
    notes: parseNotes(deaths ?? null),
  }));
}

/** The hash is anybody's to write. */
function countOf(text: string | null | undefined): number {
  const count = Number(text ?? 0);
  return Number.isSafeInteger(count) && count > 0 ? count : 0;
}
