/** The children of all masters, as rows that can be sorted. Pure. */
import type { ChildRecord, MasterRecord } from '../../registry/schema.js';

export interface Row {
  child: ChildRecord;
  master: MasterRecord;
}

/** In the order of their columns. */
export const SORT_KEYS = [
  'slot',
  'state',
  'pid',
  'memory',
  'cpu',
  'lag',
  'busy',
  'done',
  'restarts',
  'uptime',
] as const;
export type SortKey = (typeof SORT_KEYS)[number];

/** What is bad comes first, then what moves. */
const STATE_ORDER = ['stuck', 'failed', 'backoff', 'stopping', 'starting', 'quiet', 'up'];

const VALUES: Record<SortKey, (row: Row) => number> = {
  slot: ({ child }) => -child.slot,
  state: (row) => -STATE_ORDER.indexOf(stateOf(row)),
  pid: ({ child }) => -child.pid,
  memory: ({ child }) => child.pssBytes ?? child.rssBytes ?? 0,
  cpu: ({ child }) => child.cpuPercent ?? 0,
  lag: ({ child }) => child.loopLagMs ?? 0,
  busy: ({ child }) => child.busy,
  done: ({ child }) => child.processed,
  restarts: ({ child }) => child.restarts,
  uptime: ({ child }) => -child.startedAtMs,
};

export function stateOf({ child, master }: Row): string {
  if (master.stale) return 'stale';
  return child.stuckSinceMs === null ? child.state : 'stuck';
}

/** Largest first, for slots, pids and states the smallest; equal ones by master and slot, so that they keep still. */
export function sortedRows(masters: readonly MasterRecord[], key: SortKey, isReversed: boolean): Row[] {
  const rows = masters.flatMap((master) => master.children.map((child) => ({ child, master })));
  const value = VALUES[key];
  const sign = isReversed ? -1 : 1;
  return rows
    .map((row, index) => ({ row, index }))
    .sort((a, b) => sign * (value(b.row) - value(a.row)) || a.index - b.index)
    .map(({ row }) => row);
}
