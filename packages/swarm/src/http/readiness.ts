/** Whether a master's children serve, and if not, why. Pure. */
import type { ChildRecord } from '../registry/schema.js';
import type { Slot, SupervisorState } from '../supervisor/state.js';
import { formatDuration } from '../units.js';

/** Ten beats missed: its loop does not turn. */
const SILENT_AFTER_MS = 10_000;
/** Of a large group, as many as make a readable answer. */
const MAX_NAMED = 8;

export interface Readiness {
  isReady: boolean;
  /** One line each. */
  lines: string[];
}

/** Ready while at least one child of each group is up and turning. `nowMs`: by the clock of the records. */
export function readiness(
  { phase, slots }: SupervisorState,
  children: readonly ChildRecord[],
  nowMs: number,
): Readiness {
  const records = new Map(children.map((child) => [child.identity, child]));
  const recordOf = (slot: Slot) => records.get(slot.child?.identity ?? '');
  const serves = (slot: Slot): boolean => slot.state === 'up' && isTurning(recordOf(slot), nowMs);
  const up = slots.filter(serves).length;
  if (phase !== 'running') return { isReady: false, lines: [`the master is ${phase}`] };
  const groups = [...new Set(slots.map(({ group }) => group))];
  const lacking = groups.filter((group) => !slots.some((slot) => slot.group === group && serves(slot)));
  if (lacking.length === 0) return { isReady: true, lines: [`ready: ${up}/${slots.length} up`] };
  return {
    isReady: false,
    lines: lacking.map((group) => {
      const own = slots.filter((slot) => slot.group === group);
      const named = own.slice(0, MAX_NAMED).map((slot) => why(slot, recordOf(slot), nowMs));
      const more = own.length > MAX_NAMED ? `; and ${own.length - MAX_NAMED} more` : '';
      return `group ${group}: none of ${own.length} is up: ${named.join('; ')}${more}`;
    }),
  };
}

export function isTurning(child: ChildRecord | undefined, nowMs: number): boolean {
  const beatAtMs = child?.beatAtMs ?? child?.readyAtMs ?? null;
  return beatAtMs !== null && nowMs - beatAtMs < SILENT_AFTER_MS;
}

function why(slot: Slot, child: ChildRecord | undefined, nowMs: number): string {
  const where = `slot ${slot.index}`;
  if (slot.state !== 'up') return `${where} is ${slot.state}`;
  const beatAtMs = child?.beatAtMs ?? nowMs;
  return `${where} (pid ${child?.pid}) is silent for ${formatDuration(nowMs - beatAtMs)}`;
}
