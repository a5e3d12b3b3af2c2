/**
 * What is done about a job that does not come to its end. Pure: how long it has run goes in, what is to be
 * done comes out. It is dumped at its timeout, and what follows waits for the dump, because that is what the
 * job will fail with.
 *
 * - `dump`: nothing more, but for dumps at doubling intervals
 * - `abort`: its `signal` is aborted; a job that has not settled soon after is given up
 * - `kill`: it is given up: its neighbours drain, its child is killed, and then it fails
 *
 * Rejected: to fail the job at once and recycle its child later. A retry would start elsewhere while the old run
 * goes on.
 */

export interface JobLimit {
  timeoutMs: number;
  action: 'dump' | 'abort' | 'kill';
}

/** One run of a job. */
export interface JobClock {
  /** Since when it runs, as of a monotonic clock. */
  sinceMs: number;
  /**
   * - `runs`: nothing is done before `dueAtMs`
   * - `dumping`: a dump is being taken
   * - `aborting`: it has until `dueAtMs` to settle
   * - `givenUp`: it fails when its child is gone
   */
  step: 'runs' | 'dumping' | 'aborting' | 'givenUp';
  /** null: it waits for something else than the clock, or for nothing. */
  dueAtMs: number | null;
  dumps: number;
}

export type JobAct = 'dump' | 'abort' | 'giveUp';

/** In which a job that was told to abort can do so. */
export const SETTLE_MS = 5_000;
const MAX_DUMPS = 5;

export function startClock(sinceMs: number, { timeoutMs }: JobLimit): JobClock {
  return { sinceMs, step: 'runs', dueAtMs: sinceMs + timeoutMs, dumps: 0 };
}

export function lookAtClock(clock: JobClock, nowMs: number): { clock: JobClock; act: JobAct | null } {
  if (clock.dueAtMs === null || clock.dueAtMs > nowMs) return { clock, act: null };
  if (clock.step === 'aborting')
    return { clock: { ...clock, step: 'givenUp', dueAtMs: null }, act: 'giveUp' };
  const dumping: JobClock = { ...clock, step: 'dumping', dueAtMs: null, dumps: clock.dumps + 1 };
  return { clock: dumping, act: 'dump' };
}

/** The dump that was asked for has been taken, or cannot be. */
export function afterDump(
  clock: JobClock,
  { timeoutMs, action }: JobLimit,
  nowMs: number,
): { clock: JobClock; act: JobAct | null } {
  if (clock.step !== 'dumping') return { clock, act: null };
  switch (action) {
    case 'abort':
      return { clock: { ...clock, step: 'aborting', dueAtMs: nowMs + SETTLE_MS }, act: 'abort' };
    case 'kill':
      return { clock: { ...clock, step: 'givenUp' }, act: 'giveUp' };
    case 'dump': {
      const dueAtMs = clock.dumps < MAX_DUMPS ? clock.sinceMs + timeoutMs * 2 ** clock.dumps : null;
      return { clock: { ...clock, step: 'runs', dueAtMs }, act: null };
    }
  }
}

/** Time in which this clock's own process did not run is no job's. */
export function shiftClock(clock: JobClock, byMs: number): JobClock {
  const dueAtMs = clock.dueAtMs === null ? null : clock.dueAtMs + byMs;
  return { ...clock, sinceMs: clock.sinceMs + byMs, dueAtMs };
}
