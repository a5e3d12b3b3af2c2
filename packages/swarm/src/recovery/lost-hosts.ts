/**
 * What a master does about other masters that are stale: a host that is lost, rebooted, or a container that
 * was replaced. `decideLost(state, event, moment) → { state, effects }`, pure as the supervisor's own `decide`.
 *
 * A stale entry alone proves nothing: the link between that master and the registry may be cut, while its
 * children work on. So a job is taken only once its lock has missed a renewal (see lost-jobs.lua), whatever
 * the registry says, and until then looked at again. A host that beats again is left alone. Of several
 * masters one does the work: it holds a claim that it renews, and that runs out if it dies. Two that overlap do
 * no harm, because every job is moved by its lock token.
 *
 * Everybody else looks stale to a master that has just started, was suspended, or had no Redis: it
 * acts only after it has seen the registry for three beats without a gap. Until then it looks, because a job that the
 * host had not reported yet is known by its lock alone, and that may run out meanwhile.
 */
import type { LostHolding, WaitingJob, WorkerInfo } from '../protocol.js';
import { holdingKey } from './lost-holdings.js';

/** A claim outlives two failed renewals. */
export const CLAIM_MS = 10_000;
const RENEW_MS = 3_000;
/** Three beats, as long as it takes to be stale. */
const STEADY_MS = 15_000;
/** Beats come every 5 s. */
const MAX_GAP_MS = 10_000;
const ANSWER_MS = 3_000;
const RETRY_MS = 1_000;
const MIN_WAIT_MS = 250;
const MAX_WAIT_MS = 5_000;
/** A fetch that was still in the dead host's socket may be carried out after the first. */
const CLEAN_SWEEPS = 2;

/** A child of ours that could do it. */
export interface Helper {
  identity: string;
  workers: readonly Pick<WorkerInfo, 'queue' | 'prefix' | 'redisId'>[];
}

export interface StaleMaster {
  identity: string;
  holdings: readonly LostHolding[];
}

/** What the one that held the claim before knew; kept with the stale entry. */
export interface SweepNote {
  /** Queues that are accounted for, by `holdingKey`. */
  done: string[];
  /** Ids of jobs that were waited for, by `holdingKey`. */
  waiting: Record<string, string[]>;
}

export type LostEvent =
  | { type: 'tick' }
  /** `stale`: all that are, now; `found`: those of them that were not known yet. */
  | { type: 'looked'; stale: readonly string[]; found: readonly StaleMaster[] }
  /** `back`: it beats again. `failed`: Redis did not answer. */
  | { type: 'claimAnswered'; host: string; outcome: 'ours' | 'others' | 'back' | 'failed'; note: SweepNote }
  /** `error` set, or not `served`: somebody else has to. */
  | {
      type: 'swept';
      sweepId: string;
      by: string;
      served: boolean;
      released: number;
      waiting: readonly WaitingJob[];
      error: string | null;
    }
  | { type: 'helperGone'; identity: string };

export interface SweepOrder {
  host: string;
  sweepId: string;
  /** The child that is to do it. */
  by: string;
  holding: LostHolding;
}

export type LostEffect =
  /** Claim it, or renew the claim, with what is known by now; null: nothing yet. */
  | { type: 'claim'; host: string; note: SweepNote | null }
  | ({ type: 'sweep' } & SweepOrder)
  /** Whatever is found, nothing is to be taken. */
  | ({ type: 'look' } & SweepOrder)
  /** Everything is accounted for: the entry can go. */
  | { type: 'forget'; host: string }
  | { type: 'announceLost'; host: string }
  | { type: 'announceBack'; host: string }
  | { type: 'announceAccounted'; host: string; released: number };

export interface LostMoment {
  /** Monotonic ms. */
  nowMs: number;
  helpers: readonly Helper[];
}

interface Part {
  key: string;
  holding: LostHolding;
  /** Before this master may act. */
  isLookedAt: boolean;
  askedOf: string | null;
  /** Deadline of the answer while `askedOf` is set, else the next sweep. */
  dueAtMs: number;
  cleanSweeps: number;
  lastFailedBy: string | null;
}

interface LostHost {
  identity: string;
  parts: readonly Part[];
  /** `asked`: an answer of Redis's is on its way. */
  claim: 'none' | 'asked' | 'ours';
  /** Until when nobody else has it; it may be `asked` for again meanwhile. */
  claimedUntilMs: number;
  /** When it was asked for last; or the next claim, renewal, or attempt to forget. */
  claimAtMs: number;
  /** Since the last claim, a part of it was accounted for. */
  isNoteDue: boolean;
  /** What was said of it. */
  told: 'nothing' | 'lost' | 'accounted';
  /** Jobs, by children of ours. */
  released: number;
}

export interface LostState {
  hosts: readonly LostHost[];
  lastLookAtMs: number | null;
  steadySinceMs: number;
}

export interface LostDecision {
  state: LostState;
  effects: LostEffect[];
}

export const NO_LOST_HOSTS: LostState = { hosts: [], lastLookAtMs: null, steadySinceMs: 0 };

export function decideLost(before: LostState, event: LostEvent, moment: LostMoment): LostDecision {
  const reacted = react(before, event, moment);
  const effects = [...reacted.effects];
  const isSteady = moment.nowMs - reacted.state.steadySinceMs >= STEADY_MS;
  const step = isSteady ? stepHost : lookAtHost;
  const hosts = reacted.state.hosts.map((host) => step(host, moment, effects));
  return { state: { ...reacted.state, hosts }, effects };
}

function react(state: LostState, event: LostEvent, { nowMs }: LostMoment): LostDecision {
  switch (event.type) {
    case 'tick':
      return { state, effects: [] };
    case 'looked':
      return look(state, event, nowMs);
    case 'claimAnswered':
      return answerClaim(state, event, nowMs);
    case 'swept': {
      const hosts = state.hosts.map((host) => answerSweep(host, event, nowMs));
      return { state: { ...state, hosts }, effects: [] };
    }
    case 'helperGone': {
      const hosts = state.hosts.map((host) =>
        changeParts(host, (part) =>
          part.askedOf === event.identity ? { ...part, askedOf: null, dueAtMs: nowMs } : part,
        ),
      );
      return { state: { ...state, hosts }, effects: [] };
    }
  }
}

function look(
  state: LostState,
  { stale, found }: Extract<LostEvent, { type: 'looked' }>,
  nowMs: number,
): LostDecision {
  const { lastLookAtMs } = state;
  const hasGap = lastLookAtMs === null || nowMs - lastLookAtMs > MAX_GAP_MS;
  const effects: LostEffect[] = [];
  const staying = state.hosts.filter((host) => {
    if (stale.includes(host.identity)) return true;
    if (host.told === 'lost') effects.push({ type: 'announceBack', host: host.identity });
    return false;
  });
  const fresh = found
    .filter(({ identity }) => stale.includes(identity) && !staying.some((host) => host.identity === identity))
    .map((master) => newHost(master, nowMs));
  const steadySinceMs = hasGap ? nowMs : state.steadySinceMs;
  return { state: { hosts: [...staying, ...fresh], lastLookAtMs: nowMs, steadySinceMs }, effects };
}

function newHost({ identity, holdings }: StaleMaster, nowMs: number): LostHost {
  const parts = holdings.map((holding): Part => {
    const key = holdingKey(holding);
    return {
      key,
      holding,
      isLookedAt: false,
      askedOf: null,
      dueAtMs: nowMs,
      cleanSweeps: 0,
      lastFailedBy: null,
    };
  });
  const claimless = { claim: 'none', claimedUntilMs: nowMs, claimAtMs: nowMs } as const;
  return { identity, parts, ...claimless, isNoteDue: false, told: 'nothing', released: 0 };
}

function answerClaim(
  state: LostState,
  event: Extract<LostEvent, { type: 'claimAnswered' }>,
  nowMs: number,
): LostDecision {
  const effects: LostEffect[] = [];
  const hosts = state.hosts.flatMap((host): LostHost[] => {
    if (host.identity !== event.host || host.claim !== 'asked') return [host];
    if (event.outcome !== 'back') return [afterClaim(host, event.outcome, event.note, nowMs)];
    if (host.told === 'lost') effects.push({ type: 'announceBack', host: event.host });
    return [];
  });
  const toldBefore = state.hosts.find(({ identity }) => identity === event.host)?.told;
  const told = hosts.find(({ identity }) => identity === event.host)?.told;
  if (toldBefore === 'nothing' && told === 'lost') effects.push({ type: 'announceLost', host: event.host });
  return { state: { ...state, hosts }, effects };
}

function afterClaim(
  host: LostHost,
  outcome: 'ours' | 'others' | 'failed',
  note: SweepNote,
  nowMs: number,
): LostHost {
  if (outcome === 'others')
    return { ...host, claim: 'none', claimedUntilMs: nowMs, claimAtMs: nowMs + MAX_WAIT_MS };
  if (outcome === 'failed') {
    return { ...host, claim: host.claimedUntilMs > nowMs ? 'ours' : 'none', claimAtMs: nowMs + RETRY_MS };
  }
  // counted from when it was asked for: it cannot have been set before
  const claimedUntilMs = host.claimAtMs + CLAIM_MS;
  const known = host.told === 'nothing' ? changeParts(host, (part) => recall(part, note)) : host;
  return { ...known, claim: 'ours', claimedUntilMs, claimAtMs: nowMs + RENEW_MS, told: 'lost' };
}

/** What whoever had the claim before has found out. */
function recall(part: Part, note: SweepNote): Part {
  if (note.done.includes(part.key)) return { ...part, cleanSweeps: CLEAN_SWEEPS };
  const jobIds = [...new Set([...part.holding.jobIds, ...(note.waiting[part.key] ?? [])])];
  return { ...part, holding: { ...part.holding, jobIds } };
}

function answerSweep(host: LostHost, event: Extract<LostEvent, { type: 'swept' }>, nowMs: number): LostHost {
  let accounted = false;
  const after = changeParts(host, (part) => {
    if (event.sweepId === lookIdOf(host, part)) return remember(part, event);
    if (sweepIdOf(host, part) !== event.sweepId || part.askedOf !== event.by) return part;
    if (event.error !== null || !event.served) {
      return { ...part, askedOf: null, lastFailedBy: event.by, dueAtMs: nowMs + RETRY_MS };
    }
    // what is no longer active is somebody else's when it is again
    const holding = { ...part.holding, jobIds: event.waiting.map(({ id }) => id) };
    const isClean = event.waiting.length === 0;
    const cleanSweeps = isClean ? part.cleanSweeps + 1 : 0;
    accounted = cleanSweeps >= CLEAN_SWEEPS;
    const soonestMs = Math.min(...event.waiting.map(({ takeInMs }) => takeInMs));
    const waitMs = isClean ? MAX_WAIT_MS : Math.min(MAX_WAIT_MS, Math.max(MIN_WAIT_MS, soonestMs));
    return { ...part, holding, askedOf: null, cleanSweeps, dueAtMs: nowMs + waitMs };
  });
  if (after === host) return host;
  const released = host.released + event.released;
  // whoever comes after this master should know
  return accounted ? { ...after, released, isNoteDue: true, claimAtMs: nowMs } : { ...after, released };
}

function remember(part: Part, { waiting }: Extract<LostEvent, { type: 'swept' }>): Part {
  const jobIds = [...new Set([...part.holding.jobIds, ...waiting.map(({ id }) => id)])];
  return { ...part, holding: { ...part.holding, jobIds } };
}

function lookAtHost(host: LostHost, { helpers }: LostMoment, effects: LostEffect[]): LostHost {
  return changeParts(host, (part) => {
    const [helper] = part.isLookedAt ? [] : servers(part, helpers);
    if (!helper) return part;
    const { identity: by } = helper;
    effects.push({
      type: 'look',
      host: host.identity,
      sweepId: lookIdOf(host, part),
      by,
      holding: part.holding,
    });
    return { ...part, isLookedAt: true };
  });
}

function stepHost(host: LostHost, moment: LostMoment, effects: LostEffect[]): LostHost {
  const { nowMs, helpers } = moment;
  const claimed = stepClaim(host, moment, effects);
  if (claimed.claimedUntilMs <= nowMs) return claimed;
  return changeParts(claimed, (part) => {
    if (part.dueAtMs > nowMs || isDone(part)) return part;
    const lastFailedBy = part.askedOf ?? part.lastFailedBy;
    const able = servers(part, helpers);
    const helper = able.find(({ identity }) => identity !== lastFailedBy) ?? able[0];
    if (!helper) return { ...part, askedOf: null, lastFailedBy };
    const { identity: by } = helper;
    const { holding } = part;
    effects.push({ type: 'sweep', host: host.identity, sweepId: sweepIdOf(host, part), by, holding });
    return { ...part, askedOf: by, lastFailedBy, dueAtMs: nowMs + ANSWER_MS };
  });
}

function stepClaim(host: LostHost, { nowMs, helpers }: LostMoment, effects: LostEffect[]): LostHost {
  const { identity } = host;
  if (host.claimAtMs > nowMs || host.claim === 'asked') return host;
  if (host.told !== 'nothing' && host.parts.every(isDone)) {
    if (host.told === 'lost')
      effects.push({ type: 'announceAccounted', host: identity, released: host.released });
    // again and again, until a look shows that it is gone
    effects.push({ type: 'forget', host: identity });
    return { ...host, told: 'accounted', claimAtMs: nowMs + MAX_WAIT_MS };
  }
  if (!host.isNoteDue && !isWanted(host, helpers)) return { ...host, claim: 'none' };
  effects.push({ type: 'claim', host: identity, note: host.claim === 'ours' ? noteOf(host) : null });
  return { ...host, claim: 'asked', claimAtMs: nowMs, isNoteDue: false };
}

function noteOf({ parts }: LostHost): SweepNote {
  const waiting = parts.filter(({ holding }) => holding.jobIds.length > 0);
  return {
    done: parts.filter(isDone).map(({ key }) => key),
    waiting: Object.fromEntries(waiting.map(({ key, holding }) => [key, holding.jobIds])),
  };
}

/** Some of it is left that a child of ours can do, or there is nothing to do but to forget it. */
function isWanted({ parts }: LostHost, helpers: readonly Helper[]): boolean {
  const open = parts.filter((part) => !isDone(part));
  return open.length === 0 || open.some((part) => servers(part, helpers).length > 0);
}

function isDone({ cleanSweeps }: Part): boolean {
  return cleanSweeps >= CLEAN_SWEEPS;
}

function servers({ key }: Part, helpers: readonly Helper[]): Helper[] {
  return helpers.filter(({ workers }) => workers.some((worker) => holdingKey(worker) === key));
}

function sweepIdOf(host: LostHost, part: Part): string {
  return `${host.identity} ${part.key}`;
}

function lookIdOf(host: LostHost, part: Part): string {
  return `look ${sweepIdOf(host, part)}`;
}

function changeParts(host: LostHost, change: (part: Part) => Part): LostHost {
  const parts = host.parts.map(change);
  return parts.every((part, at) => part === host.parts[at]) ? host : { ...host, parts };
}
