/**
 * Who extends the locks of a child whose loop does not turn, and until when. It cannot renew them itself, and
 * BullMQ would start its jobs elsewhere while they still run here. A sibling does it, again and again, until
 * the loop turns or the child is gone; one that dies meanwhile, is blocked itself, fails or does not answer is
 * replaced by another.
 *
 * Rejected: leaving it to one sibling until further notice. Whoever is asked each time needs no telling when
 * it is over, and a master that is killed leaves nobody behind who keeps locks alive for ever.
 */
import { type Decision, same } from './decision.js';
import type { Effect, SupervisorEvent } from './events.js';
import { type Child, childrenOf, type SupervisorState } from './state.js';

/** Locks of a blocked child that are kept from running out. */
export interface Extension {
  /** Identity of the blocked child. */
  owner: string;
  slot: number;
  /** Which siblings may do it. */
  group: string;
  everyMs: number;
  /** The next time, or the deadline of the answer while `askedOf` is set; null: as soon as there is a child that can do it. */
  dueAtMs: number | null;
  askedOf: string | null;
  /** Who failed last: somebody else is asked first. */
  lastFailedBy: string | null;
  /** It was said that nobody can. */
  isLamented: boolean;
}

type Missed = Extract<SupervisorEvent, { type: 'renewalMissed' }>;
type Extended = Extract<SupervisorEvent, { type: 'locksExtended' }>;

/** Said again and again while the block lasts. */
export function onRenewalMissed(state: SupervisorState, event: Missed, nowMs: number): SupervisorState {
  const { slot: index, identity: owner, everyMs } = event;
  if (state.extensions.some((extension) => extension.owner === owner)) return state;
  const slot = state.slots.find((other) => other.index === index);
  const isThere = slot && childrenOf(slot).some(({ identity }) => identity === owner);
  if (!isThere) return state;
  const extension: Extension = {
    owner,
    slot: index,
    group: slot.group,
    everyMs,
    dueAtMs: nowMs,
    askedOf: null,
    lastFailedBy: null,
    isLamented: false,
  };
  return { ...state, extensions: [...state.extensions, extension] };
}

/** Its loop turns again, or it is gone. */
export function endExtension(state: SupervisorState, owner: string): SupervisorState {
  const extensions = state.extensions.filter((extension) => extension.owner !== owner);
  return extensions.length === state.extensions.length ? state : { ...state, extensions };
}

/** An answer that nobody waits for any more is ignored. */
export function onLocksExtended(
  state: SupervisorState,
  { owner, by, error }: Extended,
  nowMs: number,
): SupervisorState {
  return mapExtensions(state, (extension) => {
    if (extension.owner !== owner || extension.askedOf !== by) return extension;
    const { everyMs } = extension;
    if (error === null) return { ...extension, askedOf: null, lastFailedBy: null, dueAtMs: nowMs + everyMs };
    const dueAtMs = nowMs + Math.min(state.policy.releaseRetryMs, everyMs);
    return { ...extension, askedOf: null, lastFailedBy: by, dueAtMs };
  });
}

/** Asks a sibling for each extension that is due. */
export function stepExtensions(state: SupervisorState, nowMs: number): Decision {
  if (state.extensions.length === 0) return same(state);
  const effects: Effect[] = [];
  const next = mapExtensions(state, (extension) => {
    const { owner, askedOf, dueAtMs } = extension;
    const siblings = helpersOf(state, extension);
    const isUnderWay = askedOf !== null && siblings.some(({ identity }) => identity === askedOf);
    // whoever was asked and is gone, or blocked by now, is not waited for
    const isDue = dueAtMs === null || dueAtMs <= nowMs || (askedOf !== null && !isUnderWay);
    if (!isDue) return extension;
    const lastFailedBy = askedOf ?? extension.lastFailedBy;
    const by = choose(siblings, lastFailedBy);
    if (by === null) {
      if (!extension.isLamented) effects.push(lament(extension));
      if (dueAtMs === null) return extension;
      return { ...extension, askedOf: null, lastFailedBy, dueAtMs: null, isLamented: true };
    }
    effects.push({ type: 'extendLocks', owner, by });
    const answerMs = Math.min(state.policy.releaseAnswerMs, extension.everyMs);
    return { ...extension, askedOf: by, lastFailedBy, dueAtMs: nowMs + answerMs };
  });
  return { state: next, effects };
}

function helpersOf({ slots, blocks }: SupervisorState, { owner, group }: Extension): Child[] {
  return slots
    .filter((slot) => slot.group === group)
    .flatMap(childrenOf)
    .filter(({ identity, readyAtMs, canRelease, killedFor }) => {
      return (
        identity !== owner && readyAtMs !== null && canRelease && killedFor === null && !blocks[identity]
      );
    });
}

/** Children that go on before children that leave, and last of all the one that failed at it. */
function choose(siblings: readonly Child[], lastFailedBy: string | null): string | null {
  const cost = (child: Child): number =>
    (child.leavesFor !== null ? 1 : 0) + (child.identity === lastFailedBy ? 2 : 0);
  const [best] = siblings.toSorted((a, b) => cost(a) - cost(b));
  return best?.identity ?? null;
}

function lament({ owner, slot }: Extension): Effect {
  const message =
    'nobody can extend the locks of a blocked child: no sibling of its group turns; when they run out, its jobs ' +
    'start elsewhere although they still run here';
  return { type: 'log', level: 'warn', slot, message, fields: { owner } };
}

function mapExtensions(state: SupervisorState, change: (extension: Extension) => Extension): SupervisorState {
  const extensions = state.extensions.map(change);
  return extensions.every((extension, at) => extension === state.extensions[at])
    ? state
    : { ...state, extensions };
}
