/**
 * Where limiters and the child that they run in meet: symbols of the global registry, because the app may have
 * another copy of this package than the one that supervises. Imports nothing that a child does not have anyway.
 */
import type { LimiterRedis, WakeRedis } from './client.js';

const MEETING = Symbol.for('bullmq-swarm.limits.v1');

/** A swarm app's own connections, which its limiters use unless they are given others. */
export interface LimiterSurroundings {
  client: LimiterRedis;
  /** Opens one more. */
  connect(name: string): WakeRedis;
}

/** One copy of this module, with its connections. */
export interface LimiterCopy {
  /** Frees the leases of a dead child. `opens`: a connection, if there is none. Returns how many. */
  free(child: string, opens: boolean): Promise<number>;
  /** Frees the leases of this process's own child, if there are any. */
  leave(): Promise<void>;
}

interface Meeting {
  surroundings: LimiterSurroundings | null;
  copies: Set<LimiterCopy>;
  /** The child's runtime: from now on there may be leases. */
  onUse: (() => void) | null;
}

function meeting(): Meeting {
  const place = globalThis as { [MEETING]?: Meeting };
  place[MEETING] ??= { surroundings: null, copies: new Set(), onUse: null };
  return place[MEETING];
}

export function provideSurroundings(surroundings: LimiterSurroundings | null): void {
  meeting().surroundings = surroundings;
}

export function surroundings(): LimiterSurroundings | null {
  return meeting().surroundings;
}

export function registerCopy(copy: LimiterCopy): void {
  meeting().copies.add(copy);
}

export function copies(): LimiterCopy[] {
  return [...meeting().copies];
}

/** Once at most. */
export function onFirstUse(listener: () => void): void {
  meeting().onUse = listener;
}

export function announceUse(): void {
  const place = meeting();
  const { onUse } = place;
  place.onUse = null;
  onUse?.();
}
