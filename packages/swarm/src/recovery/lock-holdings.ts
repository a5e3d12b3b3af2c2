/** Which locks a child that lives may hold, and how often somebody else must extend them when it cannot. Pure. */
import type { LockHolding, WorkerInfo } from '../protocol.js';

export interface LockPace {
  /** When the first lock may run out is twice that, from the moment at which the loop stood still. */
  firstMs: number;
  everyMs: number;
}

/** A lock was renewed `renewMs` ago at the most, so that the rest of its time is certain. null: it has none that are renewed. */
export function lockPaceOf(workers: readonly WorkerInfo[]): LockPace | null {
  const locks = workers.flatMap(({ lock }) => lock ?? []);
  if (locks.length === 0) return null;
  return {
    firstMs: Math.min(...locks.map(({ durationMs, renewMs }) => (durationMs - renewMs) / 2)),
    everyMs: Math.min(...locks.map(({ durationMs }) => durationMs / 4)),
  };
}

/** Those of Workers that renew their locks themselves, as long as they can. */
export function lockHoldingsOf(workers: readonly WorkerInfo[]): LockHolding[] {
  return workers.flatMap(({ queue, prefix, redisId, tokenPrefix, lock }) => {
    return lock ? [{ queue, prefix, redisId, tokenPrefix, durationMs: lock.durationMs }] : [];
  });
}
