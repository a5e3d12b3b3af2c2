/**
 * When a child is too large, has done enough or has lived long enough. Pure: what was read of a child goes
 * in, what is to be done about it comes out; the randomness is an argument.
 *
 * The soft limit is about PSS, because that is what one more child costs the machine; it asks for a recycle
 * and can wait for its turn. The hard limit is about RSS, because that is cheap enough to be read ten times
 * a second, and never less than PSS.
 *
 * Invariants: a child that stays within its bounds is never recycled; one reading alone recycles nobody; the
 * soft limit comes before a hard one that nobody has chosen, however small it is.
 *
 * Rejected: recycling a child as soon as it is ready because the app needs more than the limit from the
 * start. Its successor would be just as large: that is churn, and the operator's to mend.
 */

/** Of one child, as a group of the config has them; null: no limit. */
export interface Limits {
  maxMemoryBytes: number | null;
  maxMemoryHardBytes: number | null;
  /** The hard limit was chosen; else it comes from the soft one. */
  maxMemoryHardIsGiven: boolean;
  maxJobs: number | null;
  maxAgeMs: number | null;
}

/** What was read of a process; null: not readable. */
export interface Reading {
  rssBytes: number | null;
  pssBytes: number | null;
}

/** What one child is held to, fixed when it is ready. */
export interface Bounds {
  softBytes: number | null;
  hardBytes: number | null;
  jobs: number | null;
  ageMs: number | null;
}

export interface Watch {
  bounds: Bounds;
  readyAtMs: number;
  /** PSS was readable once: from then on, RSS does not stand in for it. */
  hasPss: boolean;
  /** Readings in a row above the soft bound. */
  overInARow: number;
}

/** Why a child is to be recycled. */
export type Excess = 'max-memory' | 'max-jobs' | 'max-age';

/** One reading may fall on the moment before a garbage collection. */
const READINGS_IN_A_ROW = 2;
/** A child that is above the soft limit from the start is recycled when it has grown by this. */
const ABOVE_BASELINE = 1.25;
/** How far a hard bound that nobody chose stays above the RSS at which the soft one is met. */
const ABOVE_SOFT = 1.2;
const JITTER = 0.1;
/** Sizes are read a moment before they are acted on. */
const ROOM_FACTOR = 1.1;

/**
 * For a child that became ready.
 *
 * @param baseline read at that moment
 * @param random two draws from [0, 1): children that were started together do not end together
 * @returns `isTooLow`: the app is above the soft limit before it has done anything
 */
export function startWatch(
  limits: Limits,
  baseline: Reading,
  nowMs: number,
  random: readonly [number, number],
): { watch: Watch; isTooLow: boolean } {
  const sizeBytes = baseline.pssBytes ?? baseline.rssBytes ?? 0;
  const soft = limits.maxMemoryBytes;
  const isTooLow = soft !== null && sizeBytes > soft;
  const softBytes = isTooLow ? Math.round(sizeBytes * ABOVE_BASELINE) : soft;
  const sharedBytes = Math.max(0, (baseline.rssBytes ?? sizeBytes) - sizeBytes);
  const bounds: Bounds = {
    softBytes,
    hardBytes: hardBound(limits, softBytes, sharedBytes),
    jobs: jittered(limits.maxJobs, random[0]),
    ageMs: jittered(limits.maxAgeMs, random[1]),
  };
  const hasPss = baseline.pssBytes !== null;
  return { watch: { bounds, readyAtMs: nowMs, hasPss, overInARow: 0 }, isTooLow };
}

/**
 * RSS counts what children share with each other, the soft limit does not: beside a small soft limit the
 * shared part weighs more than the factor leaves room for.
 */
function hardBound(limits: Limits, softBytes: number | null, sharedBytes: number): number | null {
  const hard = limits.maxMemoryHardBytes;
  if (hard === null || softBytes === null || limits.maxMemoryHardIsGiven) return hard;
  return Math.max(hard, Math.round(ABOVE_SOFT * (softBytes + sharedBytes)));
}

function jittered(limit: number | null, random: number): number | null {
  return limit === null ? null : Math.max(1, Math.round(limit * (1 + JITTER * (2 * random - 1))));
}

/**
 * Of a child whose heap was written down: that takes several times the heap, and little of it is given back. No job did
 * that, so nobody is killed for it: the child may be as large as it is now, and a little more, and is recycled instead.
 */
export function afterSnapshot(watch: Watch, rssBytes: number | null): Watch {
  const { hardBytes, softBytes } = watch.bounds;
  if (hardBytes === null || rssBytes === null) return watch;
  const raisedBytes = Math.max(hardBytes, Math.round(rssBytes * ABOVE_BASELINE));
  return { ...watch, bounds: { ...watch.bounds, softBytes: softBytes ?? hardBytes, hardBytes: raisedBytes } };
}

/**
 * Before a child is ready, only a hard limit that somebody chose counts: of any other it is not known yet
 * whether the app fits in it at all.
 */
export function isOverHard(limits: Limits, watch: Watch | undefined, rssBytes: number | null): boolean {
  const beforeReady = limits.maxMemoryHardIsGiven ? limits.maxMemoryHardBytes : null;
  const hardBytes = watch ? watch.bounds.hardBytes : beforeReady;
  return hardBytes !== null && rssBytes !== null && rssBytes > hardBytes;
}

/** The next reading of a child; `excess`: it is to be recycled, and why. */
export function look(
  watch: Watch,
  { jobsDone, ...reading }: Reading & { jobsDone: number },
  nowMs: number,
): { watch: Watch; excess: Excess | null } {
  const { bounds, readyAtMs } = watch;
  const hasPss = watch.hasPss || reading.pssBytes !== null;
  const sizeBytes = hasPss ? reading.pssBytes : reading.rssBytes;
  const isOver = bounds.softBytes !== null && sizeBytes !== null && sizeBytes > bounds.softBytes;
  const next: Watch = { ...watch, hasPss, overInARow: isOver ? watch.overInARow + 1 : 0 };
  if (next.overInARow >= READINGS_IN_A_ROW) return { watch: next, excess: 'max-memory' };
  if (bounds.jobs !== null && jobsDone >= bounds.jobs) return { watch: next, excess: 'max-jobs' };
  if (bounds.ageMs !== null && nowMs - readyAtMs >= bounds.ageMs) return { watch: next, excess: 'max-age' };
  return { watch: next, excess: null };
}

export interface Candidate {
  group: string;
  reading: Reading;
  bounds: Bounds;
}

/**
 * Which of these may have their successor beside them. One at a time is replaced in a group, so those of one
 * group share one place; those of different groups do not.
 *
 * @param freeBytes what the machine and the cgroup still have; null: not known, and taken for enough
 */
export function overlaps(candidates: readonly Candidate[], freeBytes: number | null): boolean[] {
  if (freeBytes === null) return candidates.map(() => true);
  const taken = new Map<string, number>();
  return candidates.map(({ group, reading, bounds }) => {
    const needBytes = sizeOfOneMore(reading, bounds) * ROOM_FACTOR;
    const others = [...taken].reduce((sum, [other, bytes]) => sum + (other === group ? 0 : bytes), 0);
    const fits = needBytes <= freeBytes - others;
    if (fits) taken.set(group, Math.max(needBytes, taken.get(group) ?? 0));
    return fits;
  });
}

/** The successor will do the same work, and may be as large before its predecessor has drained. */
function sizeOfOneMore({ pssBytes, rssBytes }: Reading, { softBytes }: Bounds): number {
  return Math.min(pssBytes ?? rssBytes ?? 0, softBytes ?? Number.POSITIVE_INFINITY);
}
