/** The number of children of a group, changed while it runs. */
import { type Decision, type Moment, same } from './decision.js';
import { newSlot, type Slot, type SupervisorState } from './state.js';

/** Slots that are to be emptied, those with the highest numbers, or the state with the new ones in it. */
export function scale(
  state: SupervisorState,
  { group, count }: { group: string; count: number },
  { nowMs }: Moment,
): Decision & { remove: number[] } {
  const stays = staying(state, group);
  if (count < stays.length) {
    const remove = stays.slice(count).map(({ index }) => index);
    return { ...same(state), remove };
  }
  const taken = new Set(state.slots.map(({ index }) => index));
  const added: Slot[] = [];
  for (let index = 0; added.length < count - stays.length; index++) {
    if (!taken.has(index)) added.push(newSlot(index, group, nowMs));
  }
  if (added.length === 0) return { ...same(state), remove: [] };
  const slots = [...state.slots, ...added].sort((a, b) => a.index - b.index);
  return { ...same({ ...state, slots }), remove: [] };
}

/** Those of a group that are not emptied for good. */
export function staying({ slots }: SupervisorState, group: string): Slot[] {
  return slots.filter((slot) => slot.group === group && !isGoing(slot));
}

/** It stays: with no slot there is no group, and nothing to scale up again. */
export function isLastOfGroup(state: SupervisorState, slot: Slot): boolean {
  return !isGoing(slot) && staying(state, slot.group).length === 1;
}

/** How many children there are to be, of all groups. */
export function wantedCount({ slots }: Pick<SupervisorState, 'slots'>): number {
  return slots.filter((slot) => !isGoing(slot)).length;
}

/** It is emptied for good. */
export function isGoing(slot: Slot): boolean {
  return slot.state === 'stopping' && slot.afterStop === 'remove';
}
