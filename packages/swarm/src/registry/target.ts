/** What a word on the command line names: a master, a child, or all of them. Pure. */
import { usageError } from '../errors.js';
import type { ChildRecord, MasterRecord } from './schema.js';

export interface Target {
  master: MasterRecord;
  /** null: the master with all of its children. */
  child: ChildRecord | null;
}

/**
 * `all`, an identity or the beginning of one, a pid, a host, or a slot's number where only one master runs.
 * Stale masters are not there: nobody would answer.
 *
 * @throws SwarmError `SWARM_NO_TARGET` (exit 64) when it names nobody, or several and not all
 */
export function resolveTarget(masters: readonly MasterRecord[], word: string): Target[] {
  const living = masters.filter(({ stale }) => !stale);
  if (living.length === 0) throw usageError('SWARM_NO_TARGET', 'no master runs in this namespace: swarm ps');
  const whole = living.map((master): Target => ({ master, child: null }));
  if (word === 'all') return whole;
  const parts = living.flatMap((master) => master.children.map((child): Target => ({ master, child })));
  const targets = [...whole, ...parts];
  const identityOf = ({ master, child }: Target): string => (child ?? master).identity;
  const tries: ((target: Target) => boolean)[] = [
    (target) => identityOf(target) === word,
    ({ master, child }) => String((child ?? master).pid) === word && word.length > 2,
    ({ child }) => living.length === 1 && child !== null && String(child.slot) === word && isSeated(child),
    ({ master, child }) => child === null && master.host === word,
    (target) => word.length >= 3 && identityOf(target).startsWith(word),
  ];
  for (const matches of tries) {
    const found = targets.filter(matches);
    if (found.length === 1) return found;
    if (found.length > 1) {
      const names = found.slice(0, 5).map(identityOf).join(', ');
      throw usageError(
        'SWARM_NO_TARGET',
        `${JSON.stringify(word)} names several: ${names}; give one of these identities`,
      );
    }
  }
  const slotHint =
    /^\d{1,3}$/.test(word) && living.length > 1 ? '; slots have numbers in one master only' : '';
  throw usageError(
    'SWARM_NO_TARGET',
    `nobody here is called ${JSON.stringify(word)}: all, or an identity, a pid or a host of swarm ps${slotHint}`,
  );
}

/** While a replacement overlaps, a slot's number means the child that has the seat. */
function isSeated({ state }: ChildRecord): boolean {
  return state !== 'stopping' && state !== 'starting';
}
