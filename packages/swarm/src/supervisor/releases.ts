/**
 * Who puts a dead child's jobs back, and until when. A release is pending until a sibling has confirmed
 * it: the sibling may die in it, hang, or find Redis gone, and then another is asked. Each dead child is
 * swept more than once, because a fetch that it had sent may be carried out after its death.
 */
import type { Effect, SupervisorEvent } from './events.js';
import {
  type Child,
  childrenOf,
  type Policy,
  type Release,
  type Slot,
  type SupervisorState,
} from './state.js';

export function addRelease(
  state: SupervisorState,
  { owner, group, wasReady }: { owner: string; group: string | null; wasReady: boolean },
  nowMs: number,
): SupervisorState {
  if (state.releases.some((release) => release.owner === owner)) return state;
  const release: Release = {
    id: owner,
    owner,
    group,
    startedAtMs: nowMs,
    wasReady,
    sweepsDone: 0,
    dueAtMs: nowMs + (state.policy.sweepsAtMs[0] ?? 0),
    askedOf: null,
    failures: 0,
    failedBy: [],
    unservedSinceMs: null,
    isPartial: false,
  };
  return { ...state, releases: [...state.releases, release] };
}

/** An answer that nobody waits for any more is ignored. */
export function answerRelease(
  state: SupervisorState,
  { releaseId, by, error, unserved }: Omit<Extract<SupervisorEvent, { type: 'releaseAnswered' }>, 'type'>,
  nowMs: number,
): { state: SupervisorState; effects: Effect[] } {
  const effects: Effect[] = [];
  const next = mapReleases(state, (release) => {
    if (release.id !== releaseId || release.askedOf !== by) return release;
    if (error !== null) {
      const dueAtMs = nowMs + retryInMs(state.policy, release.failures);
      const failures = release.failures + 1;
      return { ...release, askedOf: null, failures, failedBy: withLast(release.failedBy, by), dueAtMs };
    }
    if (unserved.length > 0) {
      const failedBy = withLast(release.failedBy, by);
      const unservedSinceMs = release.unservedSinceMs ?? nowMs;
      const isAnyoneLeft = releasersOf(state.slots, release).some(
        ({ identity }) => !failedBy.includes(identity),
      );
      if (isAnyoneLeft || nowMs - unservedSinceMs < state.policy.unservedMs) {
        const dueAtMs = isAnyoneLeft ? nowMs : nowMs + state.policy.releaseRetryMs;
        return { ...release, askedOf: null, failedBy, unservedSinceMs, dueAtMs };
      }
      if (release.sweepsDone === 0) effects.push(nobodyServes(release, unserved));
    }
    const isPartial = unserved.length > 0;
    const sweepsDone = release.sweepsDone + 1;
    const nextAtMs = state.policy.sweepsAtMs[sweepsDone];
    if (nextAtMs === undefined) {
      effects.push({ type: 'settle', owner: release.owner, isPartial });
      return null;
    }
    return {
      ...release,
      isPartial,
      askedOf: null,
      failures: 0,
      sweepsDone,
      dueAtMs: Math.max(nowMs, release.startedAtMs + nextAtMs),
    };
  });
  return { state: next, effects };
}

/** While a Redis is away every try costs a sibling some time, and says the same. */
function retryInMs({ releaseRetryMs, releaseRetryMaxMs }: Policy, failures: number): number {
  return Math.min(releaseRetryMaxMs, releaseRetryMs * 2 ** failures);
}

/** Redis is back: what failed for want of it is tried at once. */
export function retryReleases(state: SupervisorState, nowMs: number): SupervisorState {
  return mapReleases(state, (release) => {
    const waits = release.failures > 0 && release.askedOf === null && release.dueAtMs !== null;
    return waits ? { ...release, failures: 0, dueAtMs: nowMs } : release;
  });
}

function nobodyServes({ owner }: Release, unserved: readonly string[]): Effect {
  const message = 'cannot release: no child works for these queues; their jobs wait for the stalled check';
  return { type: 'log', level: 'warn', slot: null, message, fields: { owner, queues: unserved.join(' ') } };
}

/** The child that was asked is gone: ask another, now. */
export function releaserGone(state: SupervisorState, identity: string, nowMs: number): SupervisorState {
  return mapReleases(state, (release) =>
    release.askedOf === identity ? { ...release, askedOf: null, dueAtMs: nowMs } : release,
  );
}

/** A child became ready: releases that had nobody to ask are due. */
export function releaserReady(state: SupervisorState, nowMs: number): SupervisorState {
  return mapReleases(state, (release) =>
    release.dueAtMs === null ? { ...release, dueAtMs: nowMs } : release,
  );
}

/** Asks a sibling for each release that is due. */
export function stepReleases(
  state: SupervisorState,
  nowMs: number,
): { state: SupervisorState; effects: Effect[] } {
  const effects: Effect[] = [];
  const next = mapReleases(state, (release) => {
    if (release.dueAtMs === null || release.dueAtMs > nowMs) return release;
    const unanswered = release.askedOf;
    const failedBy = unanswered === null ? release.failedBy : withLast(release.failedBy, unanswered);
    const by = chooseReleaser(state.slots, { ...release, failedBy });
    if (!by) return { ...release, askedOf: null, failedBy, dueAtMs: null };
    effects.push({ type: 'release', releaseId: release.id, owner: release.owner, by });
    return { ...release, askedOf: by, failedBy, dueAtMs: nowMs + state.policy.releaseAnswerMs };
  });
  return giveUpOldest(next, effects);
}

/** Where nobody can ever release, as with a bullmq that is too old, they would pile up. */
function giveUpOldest(
  state: SupervisorState,
  effects: Effect[],
): { state: SupervisorState; effects: Effect[] } {
  const unassigned = state.releases.filter(({ dueAtMs, askedOf }) => dueAtMs === null && askedOf === null);
  const given = new Set(unassigned.slice(0, Math.max(0, unassigned.length - state.policy.maxUnassigned)));
  if (given.size === 0) return { state, effects };
  const message = 'cannot release: no child was there for it; what jobs are left wait for the stalled check';
  const ended = [...given].flatMap(({ owner }): Effect[] => [
    { type: 'log', level: 'warn', slot: null, message, fields: { owner } },
    { type: 'settle', owner, isPartial: true },
  ]);
  const releases = state.releases.filter((release) => !given.has(release));
  return { state: { ...state, releases }, effects: [...effects, ...ended] };
}

function releasersOf(slots: readonly Slot[], { group }: Release): Child[] {
  return slots
    .filter((slot) => group === null || slot.group === group)
    .flatMap(childrenOf)
    .filter(({ readyAtMs, canRelease, killedFor }) => readyAtMs !== null && canRelease && killedFor === null);
}

/** Who has not failed at it before who has, longest ago; then children that go on before children that leave. */
function chooseReleaser(slots: readonly Slot[], release: Release): string | null {
  const failedAt = ({ identity }: Child): number => release.failedBy.indexOf(identity);
  const leaves = ({ leavesFor }: Child): number => (leavesFor === null ? 0 : 1);
  const [best] = releasersOf(slots, release).sort(
    (a, b) => failedAt(a) - failedAt(b) || leaves(a) - leaves(b),
  );
  return best?.identity ?? null;
}

function withLast(identities: readonly string[], last: string): string[] {
  return [...identities.filter((identity) => identity !== last), last];
}

function mapReleases(state: SupervisorState, change: (release: Release) => Release | null): SupervisorState {
  const releases = state.releases.flatMap((release) => change(release) ?? []);
  const same = releases.length === state.releases.length && releases.every((r, i) => r === state.releases[i]);
  return same ? state : { ...state, releases };
}
