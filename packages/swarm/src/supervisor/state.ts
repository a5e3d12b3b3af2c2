/**
 * The process table: what the supervisor knows, and nothing that it could look up. Plain data, replaced
 * and never mutated, so that a test can hold two of them side by side. All times are ms of one monotonic
 * clock, given by the caller.
 */
import type { GivenUpJob } from '../protocol.js';
import type { Extension } from './extensions.js';
import type { Block, StuckPolicy } from './stuck.js';

/**
 * - `starting`: spawned, or about to be; not ready yet
 * - `up`: ready, takes jobs
 * - `quiet`: ready, told to take no new ones
 * - `stopping`: told to stop; killed when its time is up
 * - `backoff`: nobody sits here until `dueAtMs`
 * - `failed`: given up: the app never booted here, nor anywhere else
 */
export type SlotState = 'starting' | 'up' | 'quiet' | 'stopping' | 'backoff' | 'failed';

/** `stopped`: every slot is empty, the exit code is decided. */
export type Phase = 'running' | 'quiet' | 'stopping' | 'stopped';

export type KillReason = 'boot-timeout' | 'stop-timeout' | 'max-memory-hard' | 'stuck' | 'job-timeout';

/** Why a child was told to leave. */
export type LeaveReason = 'stop' | 'scale' | 'roll' | 'recycle';

export type ReplaceReason = Extract<LeaveReason, 'roll' | 'recycle'>;

export interface Child {
  identity: string;
  pid: number;
  generation: number;
  spawnedAtMs: number;
  readyAtMs: number | null;
  /** Its bullmq can put a dead sibling's jobs back. */
  canRelease: boolean;
  /** Killed by us, and why. */
  killedFor: KillReason | null;
  leavesFor: LeaveReason | null;
  /** Past their time: neither waited for nor handed back. */
  givenUp: readonly GivenUpJob[];
}

/** A planned replacement that waits for its turn. */
export interface Wanted {
  reason: ReplaceReason;
  /** For the log: `max-memory`, `command` … */
  detail: string;
  /** The new child is ready before the old one leaves; where memory does not allow two, it comes after. */
  overlap: boolean;
  dueAtMs: number;
}

/** The child that will take the seat: up beside the old one until it has settled. */
export interface Next {
  state: 'starting' | 'settling';
  /** null until the spawn is confirmed. */
  child: Child | null;
  wanted: Wanted;
  /** starting: boot deadline. settling: when it takes the seat. */
  dueAtMs: number | null;
}

/** The child that had the seat, on its way out. */
export interface Leaving {
  child: Child;
  /** Kill deadline. */
  dueAtMs: number | null;
}

export interface Slot {
  index: number;
  group: string;
  state: SlotState;
  /** null in `backoff` and `failed`, and in `starting` until the spawn is confirmed. */
  child: Child | null;
  /** starting: boot deadline. stopping: kill deadline. backoff: when to spawn. */
  dueAtMs: number | null;
  /** Unplanned replacements. */
  restarts: number;
  /** Lives in a row that ended before they were healthy. */
  shortLives: number;
  /** Boots in a row that failed. */
  failedBoots: number;
  /** What follows `stopping`. */
  afterStop: 'remove' | 'spawn';
  wanted: Wanted | null;
  next: Next | null;
  leaving: Leaving | null;
}

/** Jobs of a dead child that somebody must put back. Pending until confirmed. */
export interface Release {
  id: string;
  /** Identity of the dead child. */
  owner: string;
  /** Which siblings may do it; null: any. */
  group: string | null;
  startedAtMs: number;
  /** It was ready: one that never was has had no connection to fetch a job by. */
  wasReady: boolean;
  /** Sweeps confirmed so far. */
  sweepsDone: number;
  /** Next try, or the deadline of the answer while `askedOf` is set; null: waits for a child that can do it. */
  dueAtMs: number | null;
  askedOf: string | null;
  /** In a row. */
  failures: number;
  /** Who was asked and could not do all of it, the last one last: others are asked first. */
  failedBy: readonly string[];
  /** Since when releasers say that they do not work for all of its queues; null: they do. */
  unservedSinceMs: number | null;
  /** Nobody was found for some of its queues: what was there still is. */
  isPartial: boolean;
}

export interface Policy extends StuckPolicy {
  /** Drain budget of a child, ms. */
  drainTimeoutMs: number;
  /** From the end of the drain budget to the kill: hand-back and close hooks. */
  stopGraceMs: number;
  bootTimeoutMs: number;
  /** A life this long after ready is healthy: its end restarts at once. */
  healthyLifeMs: number;
  /** How long a replacement must live after ready before the old child leaves. */
  settleMs: number;
  backoffBaseMs: number;
  backoffMaxMs: number;
  /** Failed boots in each slot, before any child was ever ready, that end the master. */
  bootAttempts: number;
  /** When a dead child's jobs are looked for, ms after its death: a fetch may still be in the dead socket. */
  sweepsAtMs: readonly number[];
  /** How long a sibling has for a release before another is asked. */
  releaseAnswerMs: number;
  /** After a first failure; doubled with each that follows. */
  releaseRetryMs: number;
  releaseRetryMaxMs: number;
  /** For how long queues that no child works for are asked about: some programs start a Worker late. */
  unservedMs: number;
  /** Releases that wait for somebody who can carry them out; beyond this the oldest is given up. */
  maxUnassigned: number;
  /** A gap between ticks beyond this means that the clock jumped or the master was stopped. */
  tiltMs: number;
  /** For how long nobody is killed after that: long enough for everybody to report again. */
  calmMs: number;
}

export const DEFAULT_POLICY: Policy = {
  drainTimeoutMs: 25_000,
  stopGraceMs: 2_700,
  bootTimeoutMs: 60_000,
  healthyLifeMs: 10_000,
  settleMs: 1_000,
  backoffBaseMs: 500,
  backoffMaxMs: 30_000,
  bootAttempts: 3,
  sweepsAtMs: [0, 1_000, 5_000],
  releaseAnswerMs: 3_000,
  releaseRetryMs: 500,
  releaseRetryMaxMs: 5_000,
  unservedMs: 10_000,
  maxUnassigned: 100,
  tiltMs: 4_000,
  calmMs: 2_000,
  stuckAfterMs: 10_000,
  stuckKillAfterMs: 60_000,
  stuckKillMindsLocks: true,
};

export interface SupervisorState {
  policy: Policy;
  phase: Phase;
  generation: number;
  slots: readonly Slot[];
  releases: readonly Release[];
  /** `again`: another one was asked for meanwhile. */
  roll: 'none' | 'rolling' | 'again';
  /** A child of this master was ready once: from then on, failing boots never end the master. */
  everReady: boolean;
  /** The app is not one to be run: it ended at its first boot in a way that no other try changes. */
  neverWorks: boolean;
  redisLost: boolean;
  /** A child had to be killed during the stop. */
  killedAtStop: boolean;
  /** A child ended during the stop with jobs that nobody can put back. */
  leftAtStop: boolean;
  /** A second INT asked to leave now. */
  forced: boolean;
  lastTickAtMs: number;
  /** Before that, no child is killed for being blocked: our own clock jumped. */
  calmAtMs: number;
  /** By the identity of a child whose loop does not turn. */
  blocks: Readonly<Record<string, Block>>;
  extensions: readonly Extension[];
}

/** @param groups name and count of each group of children, in order; slots are numbered through all of them. */
export function initialState(
  groups: readonly { name: string; count: number }[],
  policy: Policy,
  nowMs: number,
): SupervisorState {
  const slots = groups
    .flatMap(({ name, count }) => Array.from({ length: count }, () => name))
    .map((group, index) => newSlot(index, group, nowMs));
  return {
    policy,
    phase: 'running',
    generation: 0,
    slots,
    releases: [],
    roll: 'none',
    everReady: false,
    neverWorks: false,
    redisLost: false,
    killedAtStop: false,
    leftAtStop: false,
    forced: false,
    lastTickAtMs: nowMs,
    calmAtMs: nowMs,
    blocks: {},
    extensions: [],
  };
}

/** Due at once. */
export function newSlot(index: number, group: string, nowMs: number): Slot {
  return {
    index,
    group,
    state: 'backoff',
    child: null,
    dueAtMs: nowMs,
    restarts: 0,
    shortLives: 0,
    failedBoots: 0,
    afterStop: 'remove',
    wanted: null,
    next: null,
    leaving: null,
  };
}

/** Everybody who lives in a slot. */
export function childrenOf(slot: Slot): Child[] {
  return [slot.child, slot.next?.child, slot.leaving?.child].filter(
    (child) => child !== null && child !== undefined,
  );
}

/** Whether this child has its seat for good: ready, not on its way out, and no stop has begun. */
export function isSeated({ phase, slots }: SupervisorState, identity: string): boolean {
  const slot = slots.find(({ child }) => child?.identity === identity);
  const serves = slot?.state === 'up' || slot?.state === 'quiet';
  return serves && phase !== 'stopping' && phase !== 'stopped';
}

/** Everything in the state that a tick looks at, with its deadline. */
function deadlines(state: SupervisorState): { dueAtMs: number | null }[] {
  const inSlots = state.slots.flatMap((slot) => [
    slot,
    slot.next,
    slot.leaving,
    waits(slot, state.lastTickAtMs) ? slot.wanted : null,
  ]);
  return [...inSlots, ...state.releases, ...state.extensions].filter((item) => item !== null);
}

/** A wish whose time has come already waits for its turn, not for the clock. */
function waits({ wanted, next, leaving }: Slot, lastTickAtMs: number): boolean {
  return wanted !== null && wanted.dueAtMs > lastTickAtMs && next === null && leaving === null;
}

/** When a tick would do something next; null: nothing is due. */
export function nextDueAtMs(state: SupervisorState): number | null {
  let earliest: number | null = null;
  for (const { dueAtMs } of deadlines(state)) {
    if (dueAtMs !== null && (earliest === null || dueAtMs < earliest)) earliest = dueAtMs;
  }
  return earliest;
}
