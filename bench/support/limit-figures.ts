/** What a run of processes that share a limit comes to. */
import { percentile } from './figures.js';
import type { LimitRun, Use } from './limit-run.js';
import type { LimitSetup } from './limit-setup.js';

export interface Measured {
  most: number;
  perSecond: number;
  ofIdeal: number;
  unfairness: number;
  commands: number;
  refusals: number;
  redisCpuUs: number;
}

export function measure(run: LimitRun, setup: LimitSetup): Measured {
  const { uses } = run;
  const beganMs = Math.min(...uses.map(({ startedAtUs }) => startedAtUs / 1_000));
  const endedMs = Math.max(...uses.map(({ startedAtUs, heldMs }) => startedAtUs / 1_000 + heldMs));
  const spanMs = endedMs - beganMs;
  const heldMs = uses.reduce((sum, use) => sum + use.heldMs, 0);
  const isRate = setup.windowMs > 0;
  return {
    most: isRate ? mostWithin(uses, setup.windowMs) : Math.max(...uses.map(({ atWork }) => atWork)),
    perSecond: (uses.length * 1_000) / spanMs,
    // of a rate: as if a bucket were full at the first use; a window that slides cannot reach that
    ofIdeal: isRate
      ? (((uses.length - setup.limit) / setup.limit) * setup.windowMs) /
        (nthStart(uses, uses.length) - beganMs)
      : heldMs / (setup.limit * spanMs),
    unfairness: unfairness(uses),
    commands: run.commands / uses.length,
    refusals: run.refusals / uses.length,
    redisCpuUs: (run.redisCpuMs * 1_000) / uses.length,
  };
}

function nthStart(uses: readonly Use[], nth: number): number {
  const times = uses.map(({ startedAtUs }) => startedAtUs / 1_000).sort((a, b) => a - b);
  return times[nth - 1] ?? Number.NaN;
}

/** In any stretch of time of this length, as its beginning was seen from outside. */
function mostWithin(uses: readonly Use[], windowMs: number): number {
  const times = uses.map(({ startedAtUs }) => startedAtUs / 1_000).sort((a, b) => a - b);
  let most = 0;
  for (let first = 0, last = 0; last < times.length; last += 1) {
    while ((times[last] ?? 0) - (times[first] ?? 0) >= windowMs) first += 1;
    most = Math.max(most, last - first + 1);
  }
  return most;
}

/** How many places 99 of 100 uses began earlier or later than they came, at most. */
function unfairness(uses: readonly Use[]): number {
  const byArrival = [...uses].sort((a, b) => a.arrived - b.arrived);
  const rank = new Map(byArrival.map((use, at) => [use, at]));
  const byStart = [...uses].sort((a, b) => a.place - b.place);
  return percentile(
    byStart.map((use, at) => Math.abs(at - (rank.get(use) ?? 0))),
    0.99,
  );
}
