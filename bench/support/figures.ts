/** Of a series of measurements, what the reports show. An empty series gives NaN. */

export function median(values: readonly number[]): number {
  const sorted = ascending(values);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** Nearest rank: one of the values, never one between two. `share` is from 0 to 1. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = ascending(values);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/**
 * Where the true median lies, 95 % sure: two of the values, by the binomial distribution of how many
 * of them are below it (normal approximation). Assumes nothing about how the noise is distributed.
 */
export function medianInterval(values: readonly number[]): [low: number, high: number] {
  const sorted = ascending(values);
  const halfWidth = 1.96 * Math.sqrt(sorted.length / 4);
  const low = Math.max(0, Math.floor(sorted.length / 2 - halfWidth));
  return [sorted[low] ?? Number.NaN, sorted[sorted.length - 1 - low] ?? Number.NaN];
}

function ascending(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b);
}
