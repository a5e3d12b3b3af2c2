/**
 * How long things take, as counts in buckets that grow by a tenth: a median within 5 %, over any number of
 * values and however they are spread, for the price of a logarithm each. Sketches of several processes add up.
 */

/** Bucket 0 is all up to that. */
const SMALLEST_MS = 0.1;
const GROWTH = 1.1;
const LOG_GROWTH = Math.log(GROWTH);
/** The last one begins at more than a week. */
export const MAX_BUCKET = 240;

/** By bucket: how many. */
export type DurationCounts = Map<number, number>;

export function bucketOf(durationMs: number): number {
  if (!(durationMs > SMALLEST_MS)) return 0;
  return Math.min(MAX_BUCKET, Math.ceil(Math.log(durationMs / SMALLEST_MS) / LOG_GROWTH));
}

/** The middle of a bucket, by ratio. */
function durationOf(bucket: number): number {
  return bucket === 0 ? SMALLEST_MS : SMALLEST_MS * GROWTH ** (bucket - 0.5);
}

export function addCounts(
  to: DurationCounts,
  counts: Iterable<readonly [bucket: number, count: number]>,
): void {
  for (const [bucket, count] of counts) to.set(bucket, (to.get(bucket) ?? 0) + count);
}

export function totalOf(counts: DurationCounts): number {
  let total = 0;
  for (const count of counts.values()) total += count;
  return total;
}

/** What was long ago counts for half, and then for nothing: the usual changes. */
export function halve(counts: DurationCounts): void {
  for (const [bucket, count] of counts) {
    const half = Math.floor(count / 2);
    if (half === 0) counts.delete(bucket);
    else counts.set(bucket, half);
  }
}

/** Nearest rank; to a tenth of a ms below 100 ms. 0: there is none. */
export function quantileMs(counts: DurationCounts, part: number): number {
  const sorted = [...counts].sort(([a], [b]) => a - b);
  const rank = Math.max(1, Math.ceil(part * totalOf(counts)));
  let seen = 0;
  for (const [bucket, count] of sorted) {
    seen += count;
    if (seen >= rank) return rounded(durationOf(bucket));
  }
  return 0;
}

function rounded(durationMs: number): number {
  return durationMs < 100 ? Math.round(10 * durationMs) / 10 : Math.round(durationMs);
}
