/**
 * Whether a job is to blame for the death of the process that ran it, and whether that is enough. Pure.
 *
 * A death counts only if something inside the process brought it about. It is exact for a job that was
 * alone in the process, or that the evidence names, and shared by all jobs that ran there otherwise: one of them
 * did it. Where one is named, nobody else is charged at all. An innocent job can collect shared deaths of which
 * nobody knows whose they were, so they weigh less; in a swarm app one is enough to make the job run alone from
 * then on, where the next death tells.
 */
import type { Blame, DeathNotice, JobRef } from '../protocol.js';

/**
 * Ended from within, or by what a job did. Leaving as told, failing to boot and losing a host are no job's fault; a job
 * that is past its time fails, which is charge enough.
 */
const COUNTED: ReadonlySet<string> = new Set([
  'uncaught',
  'exit',
  'signal',
  'oom-kill',
  'heap-oom',
  'max-memory-hard',
  'stuck',
]);

export interface Evidence extends Blame {
  cause: string;
  /** No other job ran in the process. */
  alone: boolean;
  /** Whether the evidence, a dump or the error itself, names this job; undefined: it names nobody. */
  isNamed?: boolean | undefined;
  /** Exact deaths at which a job is failed for good; null: never. `exact` and `shared` are those before this one. */
  quarantineAfter: number | null;
}

export interface Judgement extends Blame {
  /** How this death counts. */
  kind: keyof Blame | 'none';
  quarantined: boolean;
}

/** The same, of one of the jobs of a death. */
export interface Verdict extends Judgement {
  /** Exact although it was not alone: the evidence names it. */
  named: boolean;
}

export function judge({ cause, alone, isNamed, exact, shared, quarantineAfter }: Evidence): Judgement {
  const kind = kindOf(cause, alone, isNamed);
  if (kind === 'none') return { kind, exact, shared, quarantined: false };
  const blame = { exact, shared, [kind]: (kind === 'exact' ? exact : shared) + 1 };
  return { ...blame, kind, quarantined: isTooMuch(blame, quarantineAfter) };
}

function kindOf(cause: string, alone: boolean, isNamed: boolean | undefined): Judgement['kind'] {
  if (!COUNTED.has(cause)) return 'none';
  if (isNamed !== undefined) return isNamed ? 'exact' : 'none';
  return alone ? 'exact' : 'shared';
}

/** A job that was found in a dead process's hands. */
export interface Accused extends JobRef {
  blame: Blame;
  notes: readonly DeathNote[];
}

/**
 * What a death means for each of the jobs.
 * @param isComplete the process had no others
 */
export function judgeAll(
  jobs: readonly Accused[],
  death: DeathNotice | null,
  { isComplete, quarantineAfter }: { isComplete: boolean; quarantineAfter: number | null },
): Verdict[] {
  const ran = ranAmong(jobs, death, isComplete);
  return jobs.map((job): Verdict => {
    const uncharged: Verdict = { ...job.blame, kind: 'none', quarantined: false, named: false };
    if (!death || !ran.has(job)) return uncharged;
    // a releaser that died over it has charged it
    if (job.notes.some((note) => note.death === death.id)) {
      return { ...uncharged, quarantined: isTooMuch(job.blame, quarantineAfter) };
    }
    const isNamed = death.pinned ? isSameJob(job, death.pinned) : undefined;
    const alone = isComplete && ran.size === 1;
    const judgement = judge({ ...job.blame, cause: death.cause, alone, isNamed, quarantineAfter });
    return { ...judgement, named: judgement.kind === 'exact' && !alone };
  });
}

/** A job that waits for others runs beside nobody; where only such are left, one of them had its turn. */
function ranAmong(
  jobs: readonly Accused[],
  death: DeathNotice | null,
  isComplete: boolean,
): ReadonlySet<JobRef> {
  const ran = jobs.filter((job) => !death?.waiting.some((other) => isSameJob(job, other)));
  return new Set(ran.length > 0 || !isComplete ? ran : jobs);
}

export function isSameJob(a: JobRef, b: JobRef): boolean {
  return a.queue === b.queue && a.id === b.id;
}

export function isTooMuch({ exact, shared }: Blame, quarantineAfter: number | null): boolean {
  if (quarantineAfter === null) return false;
  return exact >= quarantineAfter || shared >= sharedLimit(quarantineAfter);
}

/** 10 at the default of 3: a job is quarantined for shared deaths only when nobody else was at all of them. */
export function sharedLimit(quarantineAfter: number): number {
  return 3 * quarantineAfter + 1;
}

/** One death as the job's hash keeps it, in the list `swarmDeaths`. */
export interface DeathNote {
  /** Identity of the child that died. */
  death: string;
  /** Cause and detail: `oom-kill`, `signal SIGSEGV`. */
  cause: string;
  /** Epoch ms. */
  atMs: number;
  blame: keyof Blame;
  /** Exact, because the evidence named it among others; missing: it was alone, or shares the death. */
  named?: boolean | undefined;
}

export function noteOf(
  { id, cause, detail, atMs }: DeathNotice,
  blame: keyof Blame,
  named = false,
): DeathNote {
  const note: DeathNote = { death: id, cause: detail ? `${cause} ${detail}` : cause, atMs, blame };
  return named ? { ...note, named } : note;
}

/** What is no note is left out: the hash is anybody's to write. */
export function parseNotes(text: string | null): DeathNote[] {
  if (!text) return [];
  try {
    const list: unknown = JSON.parse(text);
    return Array.isArray(list) ? list.filter(isNote) : [];
  } catch {
    return [];
  }
}

function isNote(value: unknown): value is DeathNote {
  if (typeof value !== 'object' || value === null) return false;
  const { death, cause, atMs, blame } = value as Record<string, unknown>;
  const known = blame === 'exact' || blame === 'shared';
  return known && typeof death === 'string' && typeof cause === 'string' && Number.isFinite(atMs);
}

/** The reason that the job fails with: `quarantined: its process died 3 times while it ran alone: oom-kill 2026-01-31 12:00:00Z, …` */
export function quarantineReason(
  { exact, shared }: Blame,
  notes: readonly DeathNote[],
  quarantineAfter: number,
): string {
  const kind = exact >= quarantineAfter ? 'exact' : 'shared';
  const count = kind === 'exact' ? exact : shared;
  const listed = notes
    .filter(({ blame }) => blame === kind)
    .map(({ cause, atMs }) => `${cause} ${secondsOf(atMs)}`);
  const earlier = listed.length < count ? [`and ${count - listed.length} before`] : [];
  const isNamed = kind === 'exact' && notes.some(({ named }) => named === true);
  const alone = isNamed ? 'while it ran alone, or by what it did' : 'while it ran alone';
  const how = kind === 'exact' ? alone : 'while it ran among others';
  const times = count === 1 ? 'once' : `${count} times`;
  return `quarantined: its process died ${times} ${how}: ${[...listed, ...earlier].join(', ')}`;
}

function secondsOf(atMs: number): string {
  const date = new Date(atMs);
  if (Number.isNaN(date.getTime())) return 'at an unknown time';
  return date
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z/, 'Z');
}
