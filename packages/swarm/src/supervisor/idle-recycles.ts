/**
 * How often children are recycled for not consuming. Pure. A child that has worked and then stopped is
 * recycled; one that never began a job is like its predecessor, and another of the same may not help either: each such
 * recycle of a group makes the next wait twice as long.
 */

export interface IdleRecycles {
  /** In a row, of children that had never begun a job. */
  fruitless: number;
  notBeforeMs: number;
}

const FIRST_WAIT_MS = 60_000;
const LONGEST_WAIT_MS = 3_600_000;

/** @param hasWorked the child has ended a job in its life */
export function idleRecycle(
  before: IdleRecycles | undefined,
  { hasWorked, nowMs }: { hasWorked: boolean; nowMs: number },
): { recycles: IdleRecycles; isAllowed: boolean } {
  const recycles = before ?? { fruitless: 0, notBeforeMs: nowMs };
  if (hasWorked) return { recycles: { fruitless: 0, notBeforeMs: nowMs }, isAllowed: true };
  if (nowMs < recycles.notBeforeMs) return { recycles, isAllowed: false };
  const waitMs = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** recycles.fruitless);
  return { recycles: { fruitless: recycles.fruitless + 1, notBeforeMs: nowMs + waitMs }, isAllowed: true };
}
