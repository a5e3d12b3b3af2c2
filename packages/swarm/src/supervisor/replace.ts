/**
 * Planned replacements: a roll replaces every child by a new generation, a recycle one of them. The new
 * child comes up beside the old one, and takes its seat when it is ready and has lived for a moment;
 * only then is the old one told to leave. One at a time in each group, so that no more than one child's
 * memory is needed on top and capacity never falls below N − 1.
 *
 * A roll whose new code does not boot is given up at the first child, and the old ones stay. A recycle
 * whose replacement does not boot is tried again later: whatever asked for it still holds.
 */
import {
  announceExit,
  chain,
  type Decision,
  killEffect,
  type Moment,
  overstayReason,
  place,
  same,
  stopEffect,
} from './decision.js';
import type { Effect, SlotEvent } from './events.js';
import { backoffMs } from './restart.js';
import type { Child, Next, Slot, SupervisorState, Wanted } from './state.js';
import { newChild } from './table.js';

export function requestRoll(state: SupervisorState, { nowMs }: Moment): Decision {
  if (state.phase === 'stopping') return same(state);
  if (state.roll !== 'none') return same({ ...state, roll: 'again' });
  const generation = state.generation + 1;
  const wanted: Wanted = { reason: 'roll', detail: 'roll', overlap: true, dueAtMs: nowMs };
  const slots = state.slots.map((slot) => (slot.child ? { ...slot, wanted } : slot));
  return same({ ...state, generation, roll: 'rolling', slots });
}

export function requestRecycle(
  state: SupervisorState,
  {
    slot: index,
    identity,
    detail,
    overlap,
  }: { slot: number; identity: string; detail: string; overlap: boolean },
  { nowMs }: Moment,
): Decision {
  const slot = state.slots.find((other) => other.index === index);
  const asked = slot?.child?.identity === identity && slot.next === null ? slot.wanted : null;
  if (slot && asked?.reason === 'recycle' && asked.overlap !== overlap) {
    // it still waits for its turn, and there is room for two now, or no longer
    return place(state, slot, [{ ...slot, wanted: { ...asked, overlap } }]);
  }
  const free = slot?.child?.identity === identity && slot.wanted === null && slot.next === null;
  if (!slot || !free || slot.state === 'stopping') return same(state);
  return place(state, slot, [{ ...slot, wanted: { reason: 'recycle', detail, overlap, dueAtMs: nowMs } }]);
}

/** The child that was to be recycled is gone by itself: whoever follows it has done nothing yet. */
export function dropRecycle(slot: Slot): Slot {
  return slot.wanted?.reason === 'recycle' ? { ...slot, wanted: null } : slot;
}

/** News of a child that comes or goes beside the one in the seat; null: it is no such child. */
export function onReplacementEvent(
  state: SupervisorState,
  slot: Slot,
  event: SlotEvent,
  moment: Moment,
): Decision | null {
  const { next, leaving } = slot;
  if (event.type === 'childSpawned' || event.type === 'spawnFailed') {
    if (event.seat !== 'next') return null;
    if (!next || next.child) return same(state);
    if (event.type === 'spawnFailed') return giveUp(state, slot, next, event.error, moment);
    return seatNext(state, slot, next, newChild(event, moment), moment);
  }
  if (leaving?.child.identity === event.identity) {
    if (event.type !== 'childExited') return same(state);
    const gone: Slot = { ...slot, leaving: null };
    const isEmpty = slot.state === 'stopping' && !slot.child && !next;
    return place(state, slot, [isEmpty ? null : gone, announceExit(slot, leaving.child, null)]);
  }
  if (!next?.child || next.child.identity !== event.identity) return null;
  if (event.type === 'childExited') {
    const decision = giveUp(state, slot, next, 'the new child did not live', moment);
    return { ...decision, effects: [announceExit(slot, next.child, null), ...decision.effects] };
  }
  if (next.child.killedFor) return same(state);
  const child: Child = { ...next.child, readyAtMs: moment.nowMs, canRelease: event.canRelease };
  const settling: Next = { ...next, state: 'settling', child, dueAtMs: moment.nowMs + state.policy.settleMs };
  const paced: Effect[] = state.phase === 'quiet' ? [paceEffect(child, 'quiet')] : [];
  return place(state, slot, [{ ...slot, next: settling }, ...paced]);
}

/** A new child that settles keeps the master's pace, as those in the seats do. */
export function paceReplacement(slot: Slot, pace: 'quiet' | 'resume'): Effect[] {
  const { next } = slot;
  return next?.state === 'settling' && next.child && !next.child.killedFor
    ? [paceEffect(next.child, pace)]
    : [];
}

function paceEffect({ identity }: Child, pace: 'quiet' | 'resume'): Effect {
  return { type: 'send', identity, message: { type: pace } };
}

function seatNext(state: SupervisorState, slot: Slot, next: Next, child: Child, { nowMs }: Moment): Decision {
  if (state.phase === 'stopping' || slot.state === 'stopping') {
    return place(state, slot, expel({ ...slot, next: null }, child, 0, state, nowMs));
  }
  const dueAtMs = nowMs + state.policy.bootTimeoutMs;
  return place(state, slot, [{ ...slot, next: { ...next, child, dueAtMs } }]);
}

/** Deadlines of the child that comes and of the child that goes. */
export function onReplacementDue(state: SupervisorState, slot: Slot, { nowMs }: Moment): Decision {
  const { next, leaving } = slot;
  if (leaving && leaving.dueAtMs !== null && leaving.dueAtMs <= nowMs) {
    const reason = overstayReason(leaving.child);
    const child: Child = { ...leaving.child, killedFor: reason };
    return place(state, slot, [{ ...slot, leaving: { child, dueAtMs: null } }, killEffect(child, reason)]);
  }
  if (!next?.child || next.dueAtMs === null || next.dueAtMs > nowMs) return same(state);
  if (next.state === 'settling') return takeSeat(state, slot, next, nowMs);
  if (state.redisLost) {
    return place(state, slot, [{ ...slot, next: { ...next, dueAtMs: nowMs + state.policy.bootTimeoutMs } }]);
  }
  const child: Child = { ...next.child, killedFor: 'boot-timeout' };
  return place(state, slot, [
    { ...slot, next: { ...next, child, dueAtMs: null } },
    killEffect(child, 'boot-timeout'),
  ]);
}

/** The new child has settled: it sits down, and the old one is told to leave. */
function takeSeat(state: SupervisorState, slot: Slot, next: Next, nowMs: number): Decision {
  const { reason, detail } = next.wanted;
  const seated = sitDown(slot, next, state);
  const done: Effect = { type: 'announceReplacement', slot: slot.index, reason, detail, error: null };
  if (!slot.child) return place(state, slot, [seated, done]);
  const old: Child = { ...slot.child, leavesFor: reason };
  const { drainTimeoutMs } = state.policy;
  const [expelled, ...effects] = expel(seated, old, drainTimeoutMs, state, nowMs);
  return place(state, slot, [expelled, done, ...effects]);
}

function sitDown(slot: Slot, next: Next, state: SupervisorState): Slot {
  const isUp = next.state === 'settling';
  return {
    ...slot,
    state: !isUp ? 'starting' : state.phase === 'quiet' ? 'quiet' : 'up',
    child: next.child,
    dueAtMs: isUp ? null : next.dueAtMs,
    shortLives: 0,
    failedBoots: 0,
    next: null,
  };
}

function expel(
  slot: Slot,
  child: Child,
  drainTimeoutMs: number,
  state: SupervisorState,
  nowMs: number,
): [Slot, ...Effect[]] {
  const leavesFor = child.leavesFor ?? 'stop';
  const leaving = {
    child: { ...child, leavesFor },
    dueAtMs: nowMs + drainTimeoutMs + state.policy.stopGraceMs,
  };
  if (child.killedFor) return [{ ...slot, leaving: { child, dueAtMs: null } }];
  return [{ ...slot, leaving }, stopEffect(state, child, drainTimeoutMs)];
}

/**
 * The child in the seat died while its replacement was on the way: that one takes the seat as it is.
 * null: there is none.
 */
export function promoteNext(state: SupervisorState, slot: Slot): Decision | null {
  const { next, child } = slot;
  if (!next?.child || next.child.killedFor || !child || slot.state === 'stopping') return null;
  const { reason, detail } = next.wanted;
  const done: Effect = { type: 'announceReplacement', slot: slot.index, reason, detail, error: null };
  const seated = { ...sitDown(slot, next, state), restarts: slot.restarts + 1 };
  return place(state, slot, [
    seated,
    announceExit(slot, child, 0),
    ...(next.state === 'settling' ? [done] : []),
  ]);
}

function giveUp(state: SupervisorState, slot: Slot, next: Next, error: string, moment: Moment): Decision {
  const { wanted } = next;
  const { generation } = state;
  const announcement: Effect = {
    type: 'announceReplacement',
    slot: slot.index,
    reason: wanted.reason,
    detail: wanted.detail,
    error,
  };
  if (slot.state === 'stopping' && !slot.child && !slot.leaving) return place(state, slot, [null]);
  if (state.phase === 'stopping' || slot.state === 'stopping')
    return place(state, slot, [{ ...slot, next: null }]);
  if (wanted.reason === 'recycle') {
    const shortLives = slot.shortLives + 1;
    // never at once: what asked for it is not urgent enough to fork in a circle
    const waitMs = state.policy.backoffMaxMs / 2 + backoffMs(state.policy, shortLives, moment.random);
    const retry: Wanted = { ...wanted, dueAtMs: moment.nowMs + waitMs };
    return place(state, slot, [
      { ...slot, next: null, wanted: slot.wanted ?? retry, shortLives },
      announcement,
    ]);
  }
  const isOfAnEarlierRoll = state.roll === 'none' || (next.child?.generation ?? generation) !== generation;
  if (isOfAnEarlierRoll) return place(state, slot, [{ ...slot, next: null }, announcement]);
  const slots = state.slots.map((other): Slot => {
    const kept = other.wanted?.reason === 'roll' ? { ...other, wanted: null } : other;
    return other.index === slot.index ? { ...kept, next: null } : kept;
  });
  const ended: Effect = { type: 'announceRoll', generation, error };
  const rested: Decision = { state: { ...state, slots, roll: 'none' }, effects: [announcement, ended] };
  if (state.roll !== 'again') return rested;
  // asked for once more meanwhile: that may well be for the code that mends it
  const again = requestRoll(rested.state, moment);
  return { state: again.state, effects: [...rested.effects, ...again.effects] };
}

/** Begins what waits for its turn, and notices the end of a roll. */
export function stepReplacements(state: SupervisorState, moment: Moment): Decision {
  if (state.phase === 'stopping' || state.phase === 'stopped') return same(state);
  const groups = [...new Set(state.slots.map(({ group }) => group))];
  const begun = chain(state, groups, (now, group) => beginOne(now, group, moment));
  const rolls = begun.state.slots.some((slot) => isRolling(slot));
  if (begun.state.roll === 'none' || rolls) return begun;
  const { generation } = begun.state;
  const ended: Effect = { type: 'announceRoll', generation, error: null };
  const again = begun.state.roll === 'again';
  const rested: Decision = { state: { ...begun.state, roll: 'none' }, effects: [...begun.effects, ended] };
  if (!again) return rested;
  const next = requestRoll(rested.state, moment);
  const started = stepReplacements(next.state, moment);
  return { state: started.state, effects: [...rested.effects, ...started.effects] };
}

function isRolling({ wanted, next, leaving, child, state }: Slot): boolean {
  const stops = state === 'stopping' && child?.leavesFor === 'roll';
  return (
    wanted?.reason === 'roll' ||
    next?.wanted.reason === 'roll' ||
    leaving?.child.leavesFor === 'roll' ||
    stops
  );
}

function beginOne(state: SupervisorState, group: string, moment: Moment): Decision {
  const slots = state.slots.filter((slot) => slot.group === group);
  const busy = slots.some(
    (slot) => slot.next || slot.leaving || (slot.state === 'stopping' && slot.afterStop === 'spawn'),
  );
  if (busy) return same(state);
  const outdated = slots.find(
    ({ wanted, child }) => wanted?.reason === 'roll' && child?.generation === state.generation,
  );
  if (outdated) {
    // it died meanwhile, and its successor is of the new generation already
    return chain(place(state, outdated, [{ ...outdated, wanted: null }]).state, [group], (now) =>
      beginOne(now, group, moment),
    );
  }
  const slot = slots.find(
    ({ wanted, state: at }) => wanted && wanted.dueAtMs <= moment.nowMs && (at === 'up' || at === 'quiet'),
  );
  if (!slot?.wanted || !slot.child) return same(state);
  const { wanted } = slot;
  if (!wanted.overlap) {
    const isShort = slots.some((other) => other !== slot && other.state !== 'up' && other.state !== 'quiet');
    if (isShort) return same(state);
    const child: Child = { ...slot.child, leavesFor: wanted.reason };
    const { drainTimeoutMs, stopGraceMs } = state.policy;
    const dueAtMs = moment.nowMs + drainTimeoutMs + stopGraceMs;
    return place(state, slot, [
      { ...slot, state: 'stopping', child, dueAtMs, afterStop: 'spawn', wanted: null },
      stopEffect(state, child, drainTimeoutMs),
    ]);
  }
  const next: Next = { state: 'starting', child: null, wanted, dueAtMs: null };
  const { generation } = state;
  return place(state, slot, [
    { ...slot, wanted: null, next },
    { type: 'spawn', slot: slot.index, seat: 'next', generation },
  ]);
}

/** The slot stops for good: whoever was on the way to it leaves as well. */
export function stopReplacement(
  state: SupervisorState,
  index: number,
  drainTimeoutMs: number,
  nowMs: number,
): Decision {
  const slot = state.slots.find((other) => other.index === index);
  if (!slot) return same(state);
  const { next, leaving } = slot;
  const calm: Slot = { ...slot, wanted: null };
  if (next?.child)
    return place(state, slot, expel({ ...calm, next: null }, next.child, drainTimeoutMs, state, nowMs));
  const dueAtMs = nowMs + drainTimeoutMs + state.policy.stopGraceMs;
  if (!leaving || leaving.dueAtMs === null || leaving.dueAtMs <= dueAtMs) return place(state, slot, [calm]);
  return place(state, slot, [
    { ...calm, leaving: { ...leaving, dueAtMs } },
    stopEffect(state, leaving.child, drainTimeoutMs),
  ]);
}
