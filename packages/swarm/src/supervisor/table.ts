/**
 * What a slot does about its own child: one cell for every state and input; the compiler counts them.
 * A replacement that comes up beside the child is not seen here, see replace.ts.
 */
import {
  announceExit,
  killEffect,
  type Moment,
  type Outcome,
  overstayReason,
  stopEffect,
} from './decision.js';
import { backoffMs, wasHealthy } from './restart.js';
import type { Child, KillReason, LeaveReason, Slot, SlotState, SupervisorState } from './state.js';

/** What a slot can be told. `due`: its deadline passed. */
export type Inputs = {
  childSpawned: { identity: string; pid: number; generation: number };
  spawnFailed: { error: string };
  childReady: { canRelease: boolean };
  childExited: object;
  due: object;
  stop: { drainTimeoutMs: number; reason: LeaveReason; afterStop: Slot['afterStop'] };
  quiet: object;
  resume: object;
};

export interface Scene extends Moment {
  state: SupervisorState;
}

type Cell<I extends keyof Inputs> = (slot: Slot, input: Inputs[I], scene: Scene) => Outcome;
export type Row = { [I in keyof Inputs]: Cell<I> };

const ignore = (slot: Slot): Outcome => [slot];

export const TABLE: Record<SlotState, Row> = {
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
    quiet: (slot) => tellChild({ ...slot, state: 'quiet' }, { type: 'quiet' }),
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
    resume: (slot) => tellChild({ ...slot, state: 'up' }, { type: 'resume' }),
  },
  stopping: {
    childSpawned: (slot, input, scene) => {
      const stop = { drainTimeoutMs: 0, reason: 'stop', afterStop: slot.afterStop } as const;
      return beginStop({ ...slot, child: newChild(input, scene) }, stop, scene);
    },
    spawnFailed: (slot, _, scene) => followStop({ ...slot, child: null }, scene),
    childReady: ignore,
    childExited: (slot, _, scene) => {
      const [next, ...effects] = followStop({ ...slot, child: null }, scene);
      const restartInMs = effects.some(({ type }) => type === 'spawn') ? 0 : null;
      return [next, ...(slot.child ? [announceExit(slot, slot.child, restartInMs)] : []), ...effects];
    },
    due: (slot) => kill(slot, slot.child ? overstayReason(slot.child) : 'stop-timeout'),
    stop: hastenStop,
    quiet: ignore,
    resume: ignore,
  },
  backoff: {
    childSpawned: ignore,
    spawnFailed: ignore,
    childReady: ignore,
    childExited: ignore,
    due: (slot, _, { state }) => spawn(slot, state),
    stop: vacate,
    quiet: ignore,
    resume: ignore,
  },
  failed: {
    childSpawned: ignore,
    spawnFailed: ignore,
    childReady: ignore,
    childExited: ignore,
    due: ignore,
    stop: vacate,
    quiet: ignore,
    resume: ignore,
  },
};

export function newChild({ identity, pid, generation }: Inputs['childSpawned'], { nowMs }: Moment): Child {
  return {
    identity,
    pid,
    generation,
    spawnedAtMs: nowMs,
    readyAtMs: null,
    canRelease: false,
    killedFor: null,
    leavesFor: null,
    givenUp: [],
  };
}

function tellChild(slot: Slot, message: { type: 'quiet' } | { type: 'resume' }): Outcome {
  return slot.child ? [slot, { type: 'send', identity: slot.child.identity, message }] : [slot];
}

function spawn(slot: Slot, { generation }: SupervisorState): Outcome {
  const starting: Slot = { ...slot, state: 'starting', child: null, dueAtMs: null };
  return [starting, { type: 'spawn', slot: slot.index, seat: 'main', generation }];
}

function seat(slot: Slot, input: Inputs['childSpawned'], scene: Scene): Outcome {
  const dueAtMs = scene.nowMs + scene.state.policy.bootTimeoutMs;
  return [{ ...slot, child: newChild(input, scene), dueAtMs }];
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
  return state.phase === 'quiet' ? tellChild({ ...up, state: 'quiet' }, { type: 'quiet' }) : [up];
}

/** No child is killed for a boot that Redis holds up. */
function bootTimedOut(slot: Slot, _: object, { state, nowMs }: Scene): Outcome {
  if (state.redisLost) return [{ ...slot, dueAtMs: nowMs + state.policy.bootTimeoutMs }];
  return kill(slot, 'boot-timeout');
}

function countFailedBoot(slot: Slot, _: object, scene: Scene): Outcome {
  const failedBoots = slot.failedBoots + 1;
  if (scene.state.everReady || failedBoots < scene.state.policy.bootAttempts) {
    return backOff({ ...slot, failedBoots }, scene);
  }
  const failed: Slot = { ...slot, state: 'failed', child: null, dueAtMs: null, failedBoots };
  return slot.child ? [failed, announceExit(slot, slot.child, null)] : [failed];
}

function restart(slot: Slot, _: object, scene: Scene): Outcome {
  if (!slot.child || !wasHealthy(scene.state.policy, slot, scene.nowMs)) return backOff(slot, scene);
  const [next, ...effects] = spawn({ ...slot, shortLives: 0, restarts: slot.restarts + 1 }, scene.state);
  return [next, announceExit(slot, slot.child, 0), ...effects];
}

function backOff(slot: Slot, { state, nowMs, random }: Scene): Outcome {
  const shortLives = slot.shortLives + 1;
  const restartInMs = backoffMs(state.policy, shortLives, random);
  const restarts = slot.restarts + 1;
  const waiting: Slot = {
    ...slot,
    state: 'backoff',
    child: null,
    shortLives,
    restarts,
    dueAtMs: nowMs + restartInMs,
  };
  return slot.child ? [waiting, announceExit(slot, slot.child, restartInMs)] : [waiting];
}

function beginStop(
  slot: Slot,
  { drainTimeoutMs, reason, afterStop }: Inputs['stop'],
  { state, nowMs }: Scene,
): Outcome {
  const stopping: Slot = { ...slot, state: 'stopping', dueAtMs: null, afterStop };
  // a child that is being killed already needs no message, only its exit
  if (!slot.child || slot.child.killedFor) return [stopping];
  const child = { ...slot.child, leavesFor: reason };
  return [
    { ...stopping, child, dueAtMs: nowMs + drainTimeoutMs + state.policy.stopGraceMs },
    stopEffect(state, child, drainTimeoutMs),
  ];
}

/** A second order to stop only ever shortens the first, and never brings a slot back that is to go. */
function hastenStop(slot: Slot, stop: Inputs['stop'], { state, nowMs }: Scene): Outcome {
  const afterStop = stop.afterStop === 'remove' ? 'remove' : slot.afterStop;
  const leavesFor = stop.reason === 'stop' ? 'stop' : (slot.child?.leavesFor ?? stop.reason);
  const child = slot.child && { ...slot.child, leavesFor };
  const dueAtMs = nowMs + stop.drainTimeoutMs + state.policy.stopGraceMs;
  if (!child || slot.dueAtMs === null || dueAtMs >= slot.dueAtMs) return [{ ...slot, child, afterStop }];
  return [{ ...slot, child, afterStop, dueAtMs }, stopEffect(state, child, stop.drainTimeoutMs)];
}

/** The child is gone: the slot goes too, is filled again, or waits for who else is in it. */
function followStop(slot: Slot, { state }: Scene): Outcome {
  if (slot.afterStop === 'spawn' && state.phase !== 'stopping') return spawn(slot, state);
  const waiting: Slot = { ...slot, dueAtMs: null };
  return slot.next || slot.leaving ? [waiting] : [null];
}

/** A seat that is empty already. */
function vacate(slot: Slot, { afterStop }: Inputs['stop']): Outcome {
  if (afterStop === 'spawn') return [slot];
  return slot.next || slot.leaving ? [{ ...slot, state: 'stopping', dueAtMs: null, afterStop }] : [null];
}

function kill(slot: Slot, reason: KillReason): Outcome {
  if (!slot.child) return [{ ...slot, dueAtMs: null }];
  return [
    { ...slot, child: { ...slot.child, killedFor: reason }, dueAtMs: null },
    killEffect(slot.child, reason),
  ];
}
