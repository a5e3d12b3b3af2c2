/** When a slot spawns again. */
import type { Policy, Slot } from './state.js';

/**
 * Full jitter: anything between 1 ms and a ceiling that doubles with each short life in a row, so that
 * children which died together do not come back together.
 *
 * @param random in [0, 1)
 */
export function backoffMs(policy: Policy, shortLives: number, random: number): number {
  const ceilingMs = Math.min(policy.backoffMaxMs, policy.backoffBaseMs * 2 ** Math.max(0, shortLives - 1));
  // what is due at once would come again in the same moment, where the system cannot fork
  return Math.max(1, Math.round(ceilingMs * random));
}

/** A life counts from ready; a child that never was has no healthy life, however long its boot took. */
export function wasHealthy(policy: Policy, slot: Slot, nowMs: number): boolean {
  const readyAtMs = slot.child?.readyAtMs ?? null;
  return readyAtMs !== null && nowMs - readyAtMs >= policy.healthyLifeMs;
}
