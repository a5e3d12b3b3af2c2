/**
 * A child with a job that was given up: its other jobs drain, it is killed, and a sibling fails the job. A
 * retry must not start while the old run goes on, so the job keeps its lock until its process is gone.
 *
 * A child that has no other job and no room for one is killed at once, and so is one whose loop does not turn:
 * nothing would come of waiting. Any other is recycled, so that its successor is there before it leaves.
 */
import type { GivenUpJob } from '../protocol.js';
import { chain, type Decision, type Moment, place, same, stopEffect } from './decision.js';
import type { SupervisorEvent } from './events.js';
import { requestRecycle } from './replace.js';
import type { Child, Slot, SupervisorState } from './state.js';

type GivenUp = Extract<SupervisorEvent, { type: 'jobGivenUp' }>;

/** @returns `kill`: that child is to be killed now */
export function onJobGivenUp(
  state: SupervisorState,
  { slot: index, identity, job, isAlone }: GivenUp,
  moment: Moment,
): Decision & { kill: boolean } {
  const slot = state.slots.find((other) => other.index === index);
  const told = slot && addTo(slot, identity, job);
  // at a stop of all, it is handed back like any other: nobody is left who would fail it
  if (!told || state.phase === 'stopping') return { ...same(state), kill: false };
  const noted = place(state, slot, [told.slot]).state;
  if (isAlone || state.blocks[identity]?.isStuck) return { ...same(noted), kill: true };
  const steps = [
    (now: SupervisorState) => (told.isNew ? tellLeaving(now, told.slot, identity, moment) : same(now)),
    (now: SupervisorState) => {
      const order = { slot: index, identity, detail: 'job-timeout', overlap: true };
      return requestRecycle(now, order, moment);
    },
  ];
  return { ...chain(noted, steps, (now, step) => step(now)), kill: false };
}

function addTo(slot: Slot, identity: string, job: GivenUpJob): { slot: Slot; isNew: boolean } | null {
  const add = (child: Child): Child => {
    return child.givenUp.some((other) => isSame(other, job))
      ? child
      : { ...child, givenUp: [...child.givenUp, job] };
  };
  const { child, next, leaving } = slot;
  const seat = [child, next?.child, leaving?.child].find((other) => other?.identity === identity);
  if (!seat || seat.killedFor) return null;
  const changed = add(seat);
  if (changed === seat) return { slot, isNew: false };
  if (seat === child) return { slot: { ...slot, child: changed }, isNew: true };
  if (next && seat === next.child)
    return { slot: { ...slot, next: { ...next, child: changed } }, isNew: true };
  return leaving && { slot: { ...slot, leaving: { ...leaving, child: changed } }, isNew: true };
}

function isSame(a: GivenUpJob, b: GivenUpJob): boolean {
  return a.queue === b.queue && a.id === b.id && a.startedAtMs === b.startedAtMs;
}

/** It was told to leave before: now it need not wait for that job. */
function tellLeaving(
  state: SupervisorState,
  { child, leaving, state: at, dueAtMs }: Slot,
  identity: string,
  { nowMs }: Moment,
): Decision {
  const isInSeat = at === 'stopping' && child?.identity === identity;
  const leaver = isInSeat ? { child, dueAtMs } : leaving;
  if (leaver?.child.identity !== identity || leaver.dueAtMs === null) return same(state);
  const drainTimeoutMs = Math.max(0, Math.round(leaver.dueAtMs - state.policy.stopGraceMs - nowMs));
  return { state, effects: [stopEffect(state, leaver.child, drainTimeoutMs)] };
}
