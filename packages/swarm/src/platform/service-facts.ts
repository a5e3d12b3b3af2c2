/** What a service manager is told about a master, from its process table. Pure. */
import type { ChildRecord } from '../registry/schema.js';
import type { Phase, Slot, SupervisorState } from '../supervisor/state.js';
import { formatBytes } from '../units.js';

/** A child that has not beaten for so long does not turn. */
const SILENT_AFTER_MS = 10_000;

export interface ServiceFacts {
  phase: Phase;
  isRolling: boolean;
  /** Each group has a child that is ready. */
  isReady: boolean;
  /** Somebody works, or is on the way to it. */
  canProgress: boolean;
  /** `4/4 up`: told at each change. */
  headline: string;
  /** `, 12 busy, 318MB`: changes all the time. */
  figures: string;
}

/** @param nowMs epoch ms, by the clock of the records */
export function serviceFacts(
  state: SupervisorState,
  children: readonly ChildRecord[],
  nowMs: number,
): ServiceFacts {
  const { phase, slots, roll } = state;
  const beats = new Map(
    children.map(({ identity, beatAtMs, readyAtMs }) => [identity, beatAtMs ?? readyAtMs]),
  );
  const isTurning = (slot: Slot): boolean => {
    const beatAtMs = beats.get(slot.child?.identity ?? '') ?? null;
    return beatAtMs !== null && nowMs - beatAtMs < SILENT_AFTER_MS;
  };
  return {
    phase,
    isRolling: roll !== 'none' && phase !== 'stopping' && phase !== 'stopped',
    isReady: [...new Set(slots.map(({ group }) => group))].every((group) =>
      slots.some((slot) => slot.group === group && isUp(slot)),
    ),
    canProgress: slots.length === 0 || slots.some((slot) => canProgress(slot, isTurning)),
    headline: headline(state),
    figures: figures(children),
  };
}

/**
 * Backoff, boot and stop end at a deadline of the master's own. A child that was killed and is still there does
 * not: the kernel holds it.
 */
function canProgress(slot: Slot, isTurning: (slot: Slot) => boolean): boolean {
  if (slot.child !== null && slot.child.killedFor !== null) return false;
  switch (slot.state) {
    case 'backoff':
    case 'starting':
    case 'stopping':
      return true;
    case 'up':
    case 'quiet':
      return isTurning(slot);
    case 'failed':
      return false;
  }
}

function isUp({ state }: Slot): boolean {
  return state === 'up' || state === 'quiet';
}

function headline({ phase, slots, roll, generation, redisLost }: SupervisorState): string {
  if (phase === 'stopping' || phase === 'stopped') return `stopping: ${slots.length} left`;
  const count = (state: Slot['state']): number => slots.filter((slot) => slot.state === state).length;
  const others = (['quiet', 'backoff', 'failed'] as const).filter((state) => count(state) > 0);
  return [
    roll === 'none' ? '' : `rolling to generation ${generation}: `,
    [`${count('up')}/${slots.length} up`, ...others.map((state) => `${count(state)} ${state}`)].join(', '),
    redisLost ? ', Redis does not answer' : '',
  ].join('');
}

function figures(children: readonly ChildRecord[]): string {
  const living = children.filter(({ state }) => state !== 'backoff' && state !== 'failed');
  const busy = living.reduce((sum, child) => sum + child.busy, 0);
  const bytes = living.reduce((sum, { pssBytes, rssBytes }) => sum + (pssBytes ?? rssBytes ?? 0), 0);
  return `, ${busy} busy${bytes > 0 ? `, ${formatBytes(bytes)}` : ''}`;
}
