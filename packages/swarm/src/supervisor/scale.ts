/** The number of children of a group, changed while it runs. */
import { type Decision, type Moment, same } from './decision.js';
import { newSlot, type Slot, type SupervisorState } from './state.js';

/** Slots that are to be emptied, those with the highest numbers, or the state with the new ones in it. */
export function scale(
  state: SupervisorState,
  { group, count }: { group: string; count: number },
  { nowMs }: Moment,
): Decision & { remove: number[] } {
  const staying = state.slots.filter((slot) => slot.group === group && !isGoing(slot));
  if (count < staying.length) {
    const remove = staying.slice(count).map(({ index }) => index);
    return { ...same(state), remove };
  }
  const taken = new Set(state.slots.map(({ index }) => index));
  const added: Slot[] = [];
  for (let index = 0; added.length < count - staying.length; index++) {
    if (!taken.has(index)) added.push(newSlot(index, group, nowMs));
  }
  if (added.length === 0) return { ...same(state), remove: [] };
  const slots = [...state.slots, ...added].sort((a, b) => a.index - b.index);
  return { ...same({ ...state, slots }), remove: [] };
}

/** It is emptied for good. */
export function isGoing(slot: Slot): boolean {
  return slot.state === 'stopping' && slot.afterStop === 'remove';
}
