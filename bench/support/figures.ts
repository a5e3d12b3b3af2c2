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

export interface Ratio {
  value: number;
  /** 95 %. */
  interval: [low: number, high: number];
}

/** Of the quarter of turns that went best: whatever else the machine did only added to the others. */
const UNDISTURBED = 0.25;
const RESAMPLES = 1_000;

/**
 * How the lower quartile of one series compares with that of another; its interval by the bootstrap, over pairs that were
 * measured next to each other.
 */
export function quartileRatio(pairs: readonly (readonly [one: number, other: number])[]): Ratio {
  const of = (sample: typeof pairs): number =>
    percentile(
      sample.map(([one]) => one),
      UNDISTURBED,
    ) /
    percentile(
      sample.map(([, other]) => other),
      UNDISTURBED,
    );
  const anyPair = () => pairs[Math.floor(Math.random() * pairs.length)] as (typeof pairs)[number];
  const resampled = Array.from({ length: pairs.length === 0 ? 0 : RESAMPLES }, () => of(pairs.map(anyPair)));
  return { value: of(pairs), interval: [percentile(resampled, 0.025), percentile(resampled, 0.975)] };
}

function ascending(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b);
}
