/**
 * The supervisor's whole policy: `decide(state, event, moment)` gives the next state and what is to be
 * done about it. Nothing here reads a clock, draws a random number or touches a process: the same
 * arguments give the same answer, so that every sequence of faults can be tried in microseconds.
 *
 * An event either concerns one slot, and is answered by the cell of TABLE for the slot's state, or the
 * whole master, and is then a message to each slot plus a change of phase. TABLE has a cell for every
 * state and input; the compiler counts them.
 *
 * Invariants: a slot has at most one child; nothing is spawned once the stop began; every stop ends,
 * because each child in it has a kill deadline.
 */
import type { Effect, SlotEvent, SupervisorEvent } from './events.js';
import { addRelease, answerRelease, releaserGone, releaserReady, stepReleases } from './releases.js';
import { backoffMs, wasHealthy } from './restart.js';
import type { Child, KillReason, Slot, SlotState, SupervisorState } from './state.js';

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

/** What a slot can be told. `due`: its deadline passed. */
type Inputs = {
  childSpawned: { identity: string; pid: number };
  spawnFailed: { error: string };
  childReady: { canRelease: boolean };
  childExited: { identity: string };
  due: object;
  /** @property drainTimeoutMs 0: hand back and leave at once. */
  stop: { drainTimeoutMs: number };
  quiet: object;
  resume: object;
};

interface Scene extends Moment {
  state: SupervisorState;
}

/** A slot's next form (null: the slot is removed) and the effects. */
type Outcome = [Slot | null, ...Effect[]];
type Cell<I extends keyof Inputs> = (slot: Slot, input: Inputs[I], scene: Scene) => Outcome;
type Row = { [I in keyof Inputs]: Cell<I> };

const ignore = (slot: Slot): Outcome => [slot];
const remove = (): Outcome => [null];

const TABLE = {
  starting: {
    childSpawned: seat,
    spawnFailed: retrySpawn,
    childReady: settle,
    childExited: countFailedBoot,
    due: bootTimedOut,
    stop: beginStop,
    quiet: ignore,
    resume: ignore,
  },
  up: {
    childSpawned: ignore,
    spawnFailed: ignore,
    childReady: ignore,
    childExited: restart,
    due: ignore,
    stop: beginStop,
    quiet: (slot) => [{ ...slot, state: 'quiet' }, { type: 'send', slot: slot.index, message: { type: 'quiet' } }],
    resume: ignore,
  },
  quiet: {
    childSpawned: ignore,
    spawnFailed: ignore,
    childReady: ignore,
    childExited: restart,
    due: ignore,
    stop: beginStop,
    quiet: ignore,
    resume: (slot) => [{ ...slot, state: 'up' }, { type: 'send', slot: slot.index, message: { type: 'resume' } }],
  },
  stopping: {
    childSpawned: (slot, { identity, pid }, scene) =>
      beginStop({ ...slot, child: newChild(identity, pid, scene) }, { drainTimeoutMs: 0 }, scene),
    spawnFailed: remove,
    childReady: ignore,
    childExited: (slot, { identity }) => [null, announceExit(slot, identity, null)],
    due: (slot) => kill(slot, 'stop-timeout'),
    stop: hastenStop,
    quiet: ignore,
    resume: ignore,
  },
  backoff: {
    childSpawned: ignore,
    spawnFailed: ignore,
    childReady: ignore,
    childExited: ignore,
    due: (slot) => [{ ...slot, state: 'starting', dueAtMs: null }, { type: 'spawn', slot: slot.index }],
    stop: remove,
    quiet: ignore,
    resume: ignore,
  },
  failed: {
    childSpawned: ignore,
    spawnFailed: ignore,
    childReady: ignore,
    childExited: ignore,
    due: ignore,
    stop: remove,
    quiet: ignore,
    resume: ignore,
  },
} satisfies Record<SlotState, Row>;

export function decide(before: SupervisorState, event: SupervisorEvent, moment: Moment): Decision {
  if (before.phase === 'stopped') return { state: before, effects: [] };
  const decision = react(before, event, moment);
  const settled = stepReleases(decision.state, moment.nowMs);
  const effects = [...decision.effects, ...settled.effects];
  return endIfDone(before, { state: settled.state, effects });
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
      return requestStop(state, state.policy.drainTimeoutMs, moment);
    case 'stopForced':
      return requestStop({ ...state, forced: true }, 0, moment);
    case 'quietRequested':
      return state.phase === 'running' ? tellAll({ ...state, phase: 'quiet' }, 'quiet', {}, moment) : same(state);
    case 'resumeRequested':
      return state.phase === 'quiet' ? tellAll({ ...state, phase: 'running' }, 'resume', {}, moment) : same(state);
    case 'redisLost':
      return same({ ...state, redisLost: true });
    case 'redisBack':
      return same(restartBootClocks({ ...state, redisLost: false }, moment.nowMs));
    case 'releaseAnswered':
      return answerRelease(state, event, moment.nowMs);
    case 'predecessorFound':
      return same(addRelease(state, { owner: event.owner, group: null }, moment.nowMs));
  }
}

function onSlotEvent(state: SupervisorState, event: SlotEvent, moment: Moment): Decision {
  const slot = state.slots.find(({ index }) => index === event.slot);
  if (!slot) return same(state);
  const isNews = event.type === 'childSpawned' || event.type === 'spawnFailed';
  if (isNews ? slot.child !== null : slot.child?.identity !== event.identity) return same(state);
  const decision = tell(state, slot, event.type, event, moment);
  if (event.type === 'childExited') {
    const left = releaserGone(decision.state, event.identity, moment.nowMs);
    const owes = event.held && !event.drained;
    const owner = { owner: event.identity, group: slot.group };
    return { ...decision, state: owes ? addRelease(left, owner, moment.nowMs) : left };
  }
  if (event.type === 'childReady') {
    const ready = releaserReady({ ...decision.state, everReady: true }, moment.nowMs);
    return { ...decision, state: reviveFailed(ready, moment.nowMs) };
  }
  return decision;
}

/** Deadlines that passed, unless the clock jumped: then all of them are moved by the gap, and nobody is blamed for it. */
function onTick(state: SupervisorState, moment: Moment): Decision {
  const gapMs = moment.nowMs - state.lastTickAtMs;
  const ticked = { ...state, lastTickAtMs: moment.nowMs };
  if (gapMs > state.policy.tiltMs) {
    const message = 'the clock jumped, or this process was stopped: all deadlines moved';
    const log: Effect = { type: 'log', level: 'warn', slot: null, message, fields: { gap: `${Math.round(gapMs)}ms` } };
    return { state: shiftDeadlines(ticked, gapMs), effects: [log] };
  }
  let decision: Decision = same(ticked);
  for (const slot of ticked.slots) {
    if (slot.dueAtMs === null || slot.dueAtMs > moment.nowMs) continue;
    const next = tell(decision.state, slot, 'due', {}, moment);
    decision = { state: next.state, effects: [...decision.effects, ...next.effects] };
  }
  return decision;
}

function requestStop(state: SupervisorState, drainTimeoutMs: number, moment: Moment): Decision {
  return tellAll({ ...state, phase: 'stopping' }, 'stop', { drainTimeoutMs }, moment);
}

function tellAll<I extends keyof Inputs>(
  state: SupervisorState,
  input: I,
  detail: Inputs[I],
  moment: Moment,
): Decision {
  let decision: Decision = same(state);
  for (const slot of state.slots) {
    const next = tell(decision.state, slot, input, detail, moment);
    decision = { state: next.state, effects: [...decision.effects, ...next.effects] };
  }
  return decision;
}

function tell<I extends keyof Inputs>(
  state: SupervisorState,
  slot: Slot,
  input: I,
  detail: Inputs[I],
  moment: Moment,
): Decision {
  const row: Row = TABLE[slot.state];
  const [next, ...effects] = row[input](slot, detail, { ...moment, state });
  if (next === slot) return { state, effects };
  const slots = state.slots.flatMap((other) => (other.index !== slot.index ? [other] : next ? [next] : []));
  const killedAtStop = state.killedAtStop || next?.child?.killedFor === 'stop-timeout';
  return { state: { ...state, slots, killedAtStop }, effects };
}

function newChild(identity: string, pid: number, { nowMs }: Scene): Child {
  return { identity, pid, spawnedAtMs: nowMs, readyAtMs: null, canRelease: false, killedFor: null };
}

function seat(slot: Slot, { identity, pid }: Inputs['childSpawned'], scene: Scene): Outcome {
  const dueAtMs = scene.nowMs + scene.state.policy.bootTimeoutMs;
  return [{ ...slot, child: newChild(identity, pid, scene), dueAtMs }];
}

/** Not the app's fault (EAGAIN, ENOMEM, EMFILE): backs off, but is no failed boot. */
function retrySpawn(slot: Slot, { error }: Inputs['spawnFailed'], { state, nowMs, random }: Scene): Outcome {
  const shortLives = slot.shortLives + 1;
  const restartInMs = backoffMs(state.policy, shortLives, random);
  return [
    { ...slot, state: 'backoff', child: null, shortLives, dueAtMs: nowMs + restartInMs },
    {
      type: 'log',
      level: 'error',
      slot: slot.index,
      message: 'cannot spawn',
      fields: { error, restart_in: `${restartInMs}ms` },
    },
  ];
}

function settle(slot: Slot, { canRelease }: Inputs['childReady'], { state, nowMs }: Scene): Outcome {
  if (!slot.child || slot.child.killedFor) return [slot];
  const child = { ...slot.child, readyAtMs: nowMs, canRelease };
  const up: Slot = { ...slot, state: 'up', child, dueAtMs: null, failedBoots: 0 };
  if (state.phase !== 'quiet') return [up];
  return [{ ...up, state: 'quiet' }, { type: 'send', slot: slot.index, message: { type: 'quiet' } }];
}

/** No child is killed for a boot that Redis holds up. */
function bootTimedOut(slot: Slot, _: object, { state, nowMs }: Scene): Outcome {
  if (state.redisLost) return [{ ...slot, dueAtMs: nowMs + state.policy.bootTimeoutMs }];
  return kill(slot, 'boot-timeout');
}

function countFailedBoot(slot: Slot, { identity }: Inputs['childExited'], scene: Scene): Outcome {
  const failedBoots = slot.failedBoots + 1;
  if (scene.state.everReady || failedBoots < scene.state.policy.bootAttempts) {
    return backOff({ ...slot, failedBoots }, identity, scene);
  }
  return [
    { ...slot, state: 'failed', child: null, dueAtMs: null, failedBoots },
    announceExit(slot, identity, null),
  ];
}

function restart(slot: Slot, { identity }: Inputs['childExited'], scene: Scene): Outcome {
  if (!wasHealthy(scene.state.policy, slot, scene.nowMs)) return backOff(slot, identity, scene);
  return [
    { ...slot, state: 'starting', child: null, dueAtMs: null, shortLives: 0, restarts: slot.restarts + 1 },
    announceExit(slot, identity, 0),
    { type: 'spawn', slot: slot.index },
  ];
}

function backOff(slot: Slot, identity: string, { state, nowMs, random }: Scene): Outcome {
  const shortLives = slot.shortLives + 1;
  const restartInMs = backoffMs(state.policy, shortLives, random);
  const restarts = slot.restarts + 1;
  return [
    { ...slot, state: 'backoff', child: null, shortLives, restarts, dueAtMs: nowMs + restartInMs },
    announceExit(slot, identity, restartInMs),
  ];
}

function announceExit(slot: Slot, identity: string, restartInMs: number | null): Effect {
  const killedFor = slot.child?.killedFor ?? null;
  return { type: 'announceExit', slot: slot.index, identity, killedFor, restartInMs };
}

function beginStop(slot: Slot, { drainTimeoutMs }: Inputs['stop'], { state, nowMs }: Scene): Outcome {
  const stopping: Slot = { ...slot, state: 'stopping' };
  if (!slot.child) return [{ ...stopping, dueAtMs: null }];
  // a child that is already being killed needs no message, only its exit
  if (slot.child.killedFor) return [{ ...stopping, dueAtMs: null }];
  return [
    { ...stopping, dueAtMs: nowMs + drainTimeoutMs + state.policy.stopGraceMs },
    { type: 'send', slot: slot.index, message: { type: 'stop', drainTimeoutMs } },
  ];
}

/** A second order to stop only ever shortens the first. */
function hastenStop(slot: Slot, { drainTimeoutMs }: Inputs['stop'], { state, nowMs }: Scene): Outcome {
  const dueAtMs = nowMs + drainTimeoutMs + state.policy.stopGraceMs;
  if (slot.dueAtMs === null || dueAtMs >= slot.dueAtMs) return [slot];
  return [
    { ...slot, dueAtMs },
    { type: 'send', slot: slot.index, message: { type: 'stop', drainTimeoutMs } },
  ];
}

function kill(slot: Slot, reason: KillReason): Outcome {
  if (!slot.child) return [{ ...slot, dueAtMs: null }];
  const child = { ...slot.child, killedFor: reason };
  return [
    { ...slot, child, dueAtMs: null },
    { type: 'kill', slot: slot.index, reason },
  ];
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
  const slots = state.slots.map((slot): Slot => {
    const boots = slot.state === 'starting' && slot.child !== null && slot.child.killedFor === null;
    return boots ? { ...slot, dueAtMs: nowMs + state.policy.bootTimeoutMs } : slot;
  });
  return { ...state, slots };
}

function shiftDeadlines(state: SupervisorState, byMs: number): SupervisorState {
  const shift = <T extends { dueAtMs: number | null }>(item: T): T => {
    return item.dueAtMs === null ? item : { ...item, dueAtMs: item.dueAtMs + byMs };
  };
  return { ...state, slots: state.slots.map(shift), releases: state.releases.map(shift) };
}

function endIfDone(before: SupervisorState, { state, effects }: Decision): Decision {
  if (state.phase === 'stopping' && state.slots.length === 0) {
    const reason = state.forced ? 'forced' : state.killedAtStop ? 'killed' : 'stopped';
    return { state: { ...state, phase: 'stopped' }, effects: [...effects, { type: 'exit', reason }] };
  }
  if (state.slots.length > 0 && state.slots.every((slot) => slot.state === 'failed')) {
    return { state: { ...state, phase: 'stopped' }, effects: [...effects, { type: 'exit', reason: 'app-failed' }] };
  }
  const shows = before.phase !== state.phase || before.slots !== state.slots;
  return { state, effects: shows ? [...effects, { type: 'report' }] : effects };
}

function same(state: SupervisorState): Decision {
  return { state, effects: [] };
}
