/**
 * The supervisor's whole policy: `decide(state, event, moment)` gives the next state and what is to be
 * done about it. Nothing here reads a clock, draws a random number or touches a process: the same
 * arguments give the same answer, so that every sequence of faults can be tried in microseconds.
 *
 * An event either concerns one slot, and is answered by its cell of `TABLE` (table.ts) or by the rules
 * of replacements (replace.ts), or the whole master, and is then an input to each slot plus a change of phase.
 *
 * Invariants: a slot has one live child, two only while a replacement overlaps; nothing is spawned once
 * the stop began; every stop ends, because each child in it has a kill deadline.
 */
import { endBlock, onBlocked } from './blocks.js';
import { chain, type Decision, killEffect, type Moment, place, same } from './decision.js';
import type { Effect, ExitReason, SlotEvent, SupervisorEvent } from './events.js';
import { endExtension, onLocksExtended, onRenewalMissed, stepExtensions } from './extensions.js';
import { onJobGivenUp } from './given-up.js';
import {
  addRelease,
  answerRelease,
  releaserGone,
  releaserReady,
  retryReleases,
  stepReleases,
} from './releases.js';
import {
  dropRecycle,
  onReplacementDue,
  onReplacementEvent,
  paceReplacement,
  promoteNext,
  requestRecycle,
  requestRoll,
  stepReplacements,
  stopReplacement,
} from './replace.js';
import { isLastOfGroup, scale } from './scale.js';
import { childrenOf, type KillReason, type LeaveReason, type Slot, type SupervisorState } from './state.js';
import { type Inputs, type Row, TABLE } from './table.js';

export type { Decision, Moment } from './decision.js';

export function decide(before: SupervisorState, event: SupervisorEvent, moment: Moment): Decision {
  if (before.phase === 'stopped') return same(before);
  const steps = [
    (state: SupervisorState) => react(state, event, moment),
    (state: SupervisorState) => stepReplacements(state, moment),
    (state: SupervisorState) => stepReleases(state, moment.nowMs),
    (state: SupervisorState) => stepExtensions(state, moment.nowMs),
  ];
  return endIfDone(
    before,
    chain(before, steps, (state, step) => step(state)),
  );
}

function react(state: SupervisorState, event: SupervisorEvent, moment: Moment): Decision {
  switch (event.type) {
    case 'childSpawned':
    case 'spawnFailed':
    case 'childReady':
    case 'childExited':
      return onSlotEvent(state, event, moment);
    case 'tick':
      return onTick(state, moment);
    case 'stopRequested':
      return stopAll(state, state.policy.drainTimeoutMs, moment);
    case 'stopForced':
      return stopAll({ ...state, forced: true }, 0, moment);
    case 'quietRequested':
      return changePace(state, event.slot, 'quiet', moment);
    case 'resumeRequested':
      return changePace(state, event.slot, 'resume', moment);
    case 'rollRequested':
      return requestRoll(state, moment);
    case 'recycleRequested':
      return requestRecycle(state, event, moment);
    case 'removeRequested':
      return onRemove(state, event.slot, moment);
    case 'scaleRequested':
      return onScale(state, event, moment);
    case 'killRequested':
      return killChild(state, event.identity, event.reason);
    case 'childBlocked': {
      const { kill, ...decision } = onBlocked(state, event, moment);
      if (!kill) return decision;
      return chain(decision.state, [event.identity], (now, identity) => killChild(now, identity, 'stuck'));
    }
    case 'jobGivenUp': {
      const { kill, ...decision } = onJobGivenUp(state, event, moment);
      if (!kill) return decision;
      const reason = 'job-timeout';
      return chain(decision.state, [event.identity], (now, identity) => killChild(now, identity, reason));
    }
    case 'childUnblocked':
      return endBlock(endExtension(state, event.identity), event.identity);
    case 'renewalMissed':
      return same(onRenewalMissed(state, event, moment.nowMs));
    case 'locksExtended':
      return same(onLocksExtended(state, event, moment.nowMs));
    case 'redisLost':
      return same({ ...state, redisLost: true });
    case 'redisBack':
      return same(
        retryReleases(restartBootClocks({ ...state, redisLost: false }, moment.nowMs), moment.nowMs),
      );
    case 'releaseAnswered':
      return answerRelease(state, event, moment.nowMs);
    case 'predecessorFound':
      return same(addRelease(state, { owner: event.owner, group: null, wasReady: true }, moment.nowMs));
  }
}

function onSlotEvent(state: SupervisorState, event: SlotEvent, moment: Moment): Decision {
  const slot = state.slots.find(({ index }) => index === event.slot);
  if (!slot) return same(state);
  const decision = onReplacementEvent(state, slot, event, moment) ?? onMainEvent(state, slot, event, moment);
  if (!decision) return same(state);
  if (event.type === 'childExited') {
    const settled = settleExit(decision, slot, event, moment.nowMs);
    return neverWorks(state, slot, event) ? giveUp(settled, moment) : settled;
  }
  if (event.type === 'childReady') {
    const ready = releaserReady({ ...decision.state, everReady: true }, moment.nowMs);
    return { ...decision, state: reviveFailed(ready, moment.nowMs) };
  }
  return decision;
}

/**
 * A file that runs to its end is most likely the wrong one: what it did, another try would do again. Of code that a roll
 * brought, or once a child was ready, a try costs less than the end of the master.
 */
function neverWorks(
  state: SupervisorState,
  { state: seat, child }: Slot,
  { identity, neverWorked = false }: Extract<SlotEvent, { type: 'childExited' }>,
): boolean {
  const isFirst = !state.everReady && state.generation === 0 && state.phase !== 'stopping';
  const endedItself = seat === 'starting' && child?.identity === identity && child.killedFor === null;
  return neverWorked && isFirst && endedItself;
}

function giveUp({ state, effects }: Decision, moment: Moment): Decision {
  const stop = stopAll({ ...state, neverWorks: true }, state.policy.drainTimeoutMs, moment);
  // nobody follows, whatever was said of it before
  const said = effects.map((effect) =>
    effect.type === 'announceExit' ? { ...effect, restartInMs: null } : effect,
  );
  return { ...stop, effects: [...said, ...stop.effects] };
}

/** null: it is news of a child that no longer sits there. */
function onMainEvent(state: SupervisorState, slot: Slot, event: SlotEvent, moment: Moment): Decision | null {
  const isArrival = event.type === 'childSpawned' || event.type === 'spawnFailed';
  if (isArrival ? slot.child !== null : slot.child?.identity !== event.identity) return null;
  if (event.type === 'childExited')
    return promoteNext(state, slot) ?? tell(state, dropRecycle(slot), 'childExited', event, moment);
  return tell(state, slot, event.type, event, moment);
}

/** Whoever was asked to release by the dead child's hand is asked no more, and its own jobs are owed. */
function settleExit(
  decision: Decision,
  slot: Slot,
  event: Extract<SlotEvent, { type: 'childExited' }>,
  nowMs: number,
): Decision {
  const unblocked = endBlock(endExtension(decision.state, event.identity), event.identity).state;
  const left = releaserGone(unblocked, event.identity, nowMs);
  const child = childrenOf(slot).find(({ identity }) => identity === event.identity);
  const wasReady = child?.readyAtMs != null;
  const owner = { owner: event.identity, group: slot.group, wasReady };
  const owes = event.held && !event.drained;
  if (event.isHopeless && !event.drained && left.phase === 'stopping') {
    const announcement: Effect = { type: 'announceLeft', owner: event.identity, canSucceed: false };
    return { state: { ...left, leftAtStop: true }, effects: [...decision.effects, announcement] };
  }
  return { ...decision, state: owes ? addRelease(left, owner, nowMs) : left };
}

/** Deadlines that passed, unless the clock jumped: then all of them are moved by the gap, and nobody is blamed for it. */
function onTick(state: SupervisorState, moment: Moment): Decision {
  const gapMs = moment.nowMs - state.lastTickAtMs;
  const ticked = { ...state, lastTickAtMs: moment.nowMs };
  if (gapMs > state.policy.tiltMs) {
    const message = 'the clock jumped, or this process was stopped: all deadlines moved';
    const log: Effect = {
      type: 'log',
      level: 'warn',
      slot: null,
      message,
      fields: { gap: `${Math.round(gapMs)}ms` },
    };
    const calm = { ...ticked, calmAtMs: moment.nowMs + state.policy.calmMs };
    return { state: shiftDeadlines(calm, gapMs), effects: [log] };
  }
  const indices = ticked.slots.map(({ index }) => index);
  return chain(ticked, indices, (now, index) => onDue(now, index, moment));
}

function onDue(state: SupervisorState, index: number, moment: Moment): Decision {
  const isDue = ({ dueAtMs }: Slot): boolean => dueAtMs !== null && dueAtMs <= moment.nowMs;
  const steps = [
    (now: SupervisorState, slot: Slot) => (isDue(slot) ? tell(now, slot, 'due', {}, moment) : same(now)),
    (now: SupervisorState, slot: Slot) => onReplacementDue(now, slot, moment),
  ];
  return chain(state, steps, (now, step) => {
    const slot = now.slots.find((other) => other.index === index);
    return slot ? step(now, slot) : same(now);
  });
}

function stopAll(state: SupervisorState, drainTimeoutMs: number, moment: Moment): Decision {
  const stopping: SupervisorState = { ...state, phase: 'stopping', roll: 'none' };
  const indices = state.slots.map(({ index }) => index);
  return chain(stopping, indices, (now, index) => removeSlot(now, index, 'stop', drainTimeoutMs, moment));
}

function removeSlot(
  state: SupervisorState,
  index: number,
  reason: LeaveReason,
  drainTimeoutMs: number,
  moment: Moment,
): Decision {
  const steps = [
    (now: SupervisorState) => stopReplacement(now, index, drainTimeoutMs, moment.nowMs),
    (now: SupervisorState) => {
      const slot = now.slots.find((other) => other.index === index);
      return slot
        ? tell(now, slot, 'stop', { drainTimeoutMs, reason, afterStop: 'remove' }, moment)
        : same(now);
    },
  ];
  return chain(state, steps, (now, step) => step(now));
}

function onRemove(state: SupervisorState, index: number, moment: Moment): Decision {
  const slot = state.slots.find((other) => other.index === index);
  if (!slot || isLastOfGroup(state, slot)) return same(state);
  return removeSlot(state, index, 'scale', state.policy.drainTimeoutMs, moment);
}

function onScale(state: SupervisorState, order: { group: string; count: number }, moment: Moment): Decision {
  if (state.phase === 'stopping') return same(state);
  const { remove, ...decision } = scale(state, order, moment);
  const { drainTimeoutMs } = state.policy;
  return chain(decision.state, remove, (now, index) =>
    removeSlot(now, index, 'scale', drainTimeoutMs, moment),
  );
}

function changePace(
  state: SupervisorState,
  index: number | null,
  pace: 'quiet' | 'resume',
  moment: Moment,
): Decision {
  if (state.phase === 'stopping') return same(state);
  const phase = pace === 'quiet' ? 'quiet' : 'running';
  const slots = state.slots.filter((slot) => index === null || slot.index === index);
  const paced = chain(index === null ? { ...state, phase } : state, slots, (now, slot) =>
    tell(now, slot, pace, {}, moment),
  );
  if (index !== null) return paced;
  return { ...paced, effects: [...paced.effects, ...slots.flatMap((slot) => paceReplacement(slot, pace))] };
}

function killChild(state: SupervisorState, identity: string, reason: KillReason): Decision {
  for (const slot of state.slots) {
    const child = childrenOf(slot).find((other) => other.identity === identity);
    if (!child || child.killedFor) continue;
    const killed = { ...child, killedFor: reason };
    const effect = killEffect(child, reason);
    if (slot.child === child) return place(state, slot, [{ ...slot, child: killed, dueAtMs: null }, effect]);
    if (slot.next?.child === child) {
      return place(state, slot, [{ ...slot, next: { ...slot.next, child: killed, dueAtMs: null } }, effect]);
    }
    return place(state, slot, [{ ...slot, leaving: { child: killed, dueAtMs: null } }, effect]);
  }
  return same(state);
}

function tell<I extends keyof Inputs>(
  state: SupervisorState,
  slot: Slot,
  input: I,
  detail: Inputs[I],
  moment: Moment,
): Decision {
  const row: Row = TABLE[slot.state];
  return place(state, slot, row[input](slot, detail, { ...moment, state }));
}

/** Slots that were given up try again once a sibling has shown that the app can boot. */
function reviveFailed(state: SupervisorState, nowMs: number): SupervisorState {
  if (!state.slots.some((slot) => slot.state === 'failed')) return state;
  const slots = state.slots.map((slot): Slot => {
    return slot.state === 'failed' ? { ...slot, state: 'backoff', dueAtMs: nowMs } : slot;
  });
  return { ...state, slots };
}

/** Redis is back: what it held up gets its whole time again. */
function restartBootClocks(state: SupervisorState, nowMs: number): SupervisorState {
  const dueAtMs = nowMs + state.policy.bootTimeoutMs;
  const slots = state.slots.map((slot): Slot => {
    const { next } = slot;
    const boots = slot.state === 'starting' && slot.child !== null && slot.child.killedFor === null;
    const nextBoots = next?.state === 'starting' && next.child !== null && next.child.killedFor === null;
    return {
      ...slot,
      ...(boots ? { dueAtMs } : {}),
      ...(nextBoots ? { next: { ...next, dueAtMs } } : {}),
    };
  });
  return { ...state, slots };
}

function shiftDeadlines(state: SupervisorState, byMs: number): SupervisorState {
  const shift = <T extends { dueAtMs: number | null } | null>(item: T): T => {
    return item === null || item.dueAtMs === null ? item : { ...item, dueAtMs: item.dueAtMs + byMs };
  };
  const slots = state.slots.map((slot) => ({
    ...shift(slot),
    next: shift(slot.next),
    leaving: shift(slot.leaving),
  }));
  return { ...state, slots, releases: state.releases.map(shift) };
}

function endIfDone(before: SupervisorState, { state, effects }: Decision): Decision {
  const killed = effects.some(({ type }) => type === 'kill');
  const killedAtStop = state.killedAtStop || (killed && state.phase === 'stopping');
  const after = killedAtStop === state.killedAtStop ? state : { ...state, killedAtStop };
  if (after.phase === 'stopping' && after.slots.length === 0) {
    // the later sweeps only make sure: what one of them has confirmed is left to no successor
    const ends = after.releases.map(({ sweepsDone, owner, wasReady, isPartial }): Effect => {
      if (sweepsDone > 0) return { type: 'settle', owner, isPartial };
      // one that never was ready never held a job
      if (!wasReady) return { type: 'settle', owner, isPartial: false };
      return { type: 'announceLeft', owner, canSucceed: true };
    });
    const isLeft = after.leftAtStop || ends.some(({ type }) => type === 'announceLeft');
    const reason = exitReason(after, isLeft);
    return {
      state: { ...after, phase: 'stopped' },
      effects: [...effects, ...ends, { type: 'exit', reason }],
    };
  }
  if (after.slots.length > 0 && after.slots.every((slot) => slot.state === 'failed')) {
    // no child was ever ready, so none of them ever held a job
    const settled = after.releases.map(({ owner }): Effect => ({ type: 'settle', owner, isPartial: false }));
    const exit: Effect = { type: 'exit', reason: 'app-failed' };
    return { state: { ...after, phase: 'stopped' }, effects: [...effects, ...settled, exit] };
  }
  const shows =
    before.phase !== after.phase || before.slots !== after.slots || before.generation !== after.generation;
  return { state: after, effects: shows ? [...effects, { type: 'report' }] : effects };
}

function exitReason({ neverWorks, forced, killedAtStop }: SupervisorState, isLeft: boolean): ExitReason {
  if (neverWorks) return 'app-failed';
  if (forced) return 'forced';
  if (killedAtStop) return 'killed';
  return isLeft ? 'left' : 'stopped';
}
