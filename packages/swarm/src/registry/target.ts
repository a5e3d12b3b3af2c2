/** What a word on the command line names: a master, a child, or all of them. Pure. */
import { type SwarmError, usageError } from '../errors.js';
import type { ChildRecord, MasterRecord } from './schema.js';

export interface Target {
  master: MasterRecord;
  /** null: the master with all of its children. */
  child: ChildRecord | null;
}

const MAX_NAMED = 5;
const MIN_PREFIX_LENGTH = 3;

/**
 * `all`, an identity or the beginning of one, a pid, a host, or a slot's number where only one master runs.
 * Stale masters are refused: nobody would answer.
 *
 * @throws SwarmError `SWARM_NO_TARGET` (exit 64) when it names nobody, or several and not all
 */
export function resolveTarget(masters: readonly MasterRecord[], word: string): Target[] {
  const living = masters.filter(({ stale }) => !stale);
  if (word === 'all') {
    if (living.length === 0) throw nobodyRuns(masters);
    return living.map((master): Target => ({ master, child: null }));
  }
  const found = find(living, word);
  if (found.length === 1) return found;
  if (found.length > 1) {
    const more = found.length > MAX_NAMED ? ` and ${found.length - MAX_NAMED} more` : '';
    const names = found.slice(0, MAX_NAMED).map(identityOf).join(', ');
    throw noTarget(`${JSON.stringify(word)} names several: ${names}${more}; give one of these identities`);
  }
  const [gone] = find(
    masters.filter(({ stale }) => stale),
    word,
  );
  if (gone) throw isStale(gone, word);
  if (living.length === 0) throw nobodyRuns(masters);
  const hint = /^\d{1,3}$/.test(word) && living.length > 1 ? '; slots are numbered in each master' : '';
  const all = 'all, or an identity, a pid or a host of swarm ps';
  throw noTarget(`nobody here is called ${JSON.stringify(word)}: ${all}${hint}`);
}

/** By the first way of naming that fits anybody. */
function find(masters: readonly MasterRecord[], word: string): Target[] {
  const targets = masters.flatMap((master): Target[] => [
    { master, child: null },
    ...master.children.map((child) => ({ master, child })),
  ]);
  const inSlot = masters.length === 1 ? targets.filter(({ child }) => String(child?.slot) === word) : [];
  // while a replacement overlaps, the number means the child that has the seat
  const seated = inSlot.filter(({ child }) => child?.state !== 'stopping' && child?.state !== 'starting');
  const ways = [
    targets.filter((target) => identityOf(target) === word),
    targets.filter(({ master, child }) => String((child ?? master).pid) === word && word.length > 2),
    seated.length > 0 ? seated : inSlot,
    targets.filter(({ master, child }) => child === null && master.host === word),
    targets.filter((target) => word.length >= MIN_PREFIX_LENGTH && identityOf(target).startsWith(word)),
  ];
  return ways.find(({ length }) => length > 0) ?? [];
}

function identityOf({ master, child }: Target): string {
  return (child ?? master).identity;
}

function isStale({ master, child }: Target, word: string): SwarmError {
  const who = child ? `the master of ${JSON.stringify(word)}, ${master.identity},` : master.identity;
  return noTarget(
    `${who} is stale: its process is gone, or it has not beaten for 15 s or more, so nobody would take the command`,
  );
}

function nobodyRuns(masters: readonly MasterRecord[]): SwarmError {
  const stale = masters.map(({ identity }) => identity).slice(0, MAX_NAMED);
  if (stale.length === 0)
    return noTarget('no master runs in this namespace; swarm ps shows which it looked in');
  return noTarget(
    `no master runs in this namespace; stale, and nobody to take commands: ${stale.join(', ')}`,
  );
}

function noTarget(message: string): SwarmError {
  return usageError('SWARM_NO_TARGET', message);
}
