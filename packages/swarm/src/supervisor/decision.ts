/** What every part of the supervisor takes and gives. */
import type { Effect } from './events.js';
import type { Child, KillReason, Slot, SupervisorState } from './state.js';

export interface Moment {
  /** Monotonic ms. */
  nowMs: number;
  /** A fresh draw from [0, 1). */
  random: number;
}

export interface Decision {
  state: SupervisorState;
  effects: Effect[];
}

/** A slot's next form (null: the slot is removed) and the effects. */
export type Outcome = [Slot | null, ...Effect[]];

export function same(state: SupervisorState): Decision {
  return { state, effects: [] };
}

/** Steps in a row, each on the state that the one before left. */
export function chain<T>(
  start: SupervisorState,
  items: Iterable<T>,
  step: (state: SupervisorState, item: T) => Decision,
): Decision {
  let decision: Decision = same(start);
  for (const item of items) {
    const next = step(decision.state, item);
    decision = { state: next.state, effects: [...decision.effects, ...next.effects] };
  }
  return decision;
}

/** Puts a slot's outcome into the table. */
export function place(state: SupervisorState, slot: Slot, [next, ...effects]: Outcome): Decision {
  if (next === slot) return { state, effects };
  const slots = state.slots.flatMap((other) => (other.index !== slot.index ? [other] : next ? [next] : []));
  return { state: { ...state, slots }, effects };
}

export function announceExit(slot: Slot, child: Child, restartInMs: number | null): Effect {
  const { identity, killedFor, leavesFor } = child;
  return { type: 'announceExit', slot: slot.index, identity, killedFor, leavesFor, restartInMs };
}

export function killEffect(child: Child, reason: KillReason): Effect {
  return { type: 'kill', identity: child.identity, reason };
}

/** At a stop of all, nobody is left after it who would fail the jobs that were given up: they are handed back like others. */
export function stopEffect({ phase }: SupervisorState, child: Child, drainTimeoutMs: number): Effect {
  const { identity, givenUp } = child;
  const left = givenUp.length === 0 || phase === 'stopping' ? {} : { givenUp: [...givenUp] };
  return { type: 'send', identity, message: { type: 'stop', drainTimeoutMs, ...left } };
}

/** What a child is killed for that is still there when its time is up. */
export function overstayReason({ givenUp }: Child): KillReason {
  return givenUp.length > 0 ? 'job-timeout' : 'stop-timeout';
}
