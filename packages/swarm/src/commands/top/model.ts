/** What `swarm top` shows and how its keys change that. Pure: time, readings and keys come in as values. */
import type { RegistrySnapshot } from '../../registry/reader.js';
import { type Row, SORT_KEYS, type SortKey, sortedRows } from './rows.js';

/** Lines over the table, until a key puts them away. */
export interface Pane {
  title: string;
  lines: readonly string[];
  /** First line that is shown. */
  from: number;
}

export interface Model {
  snapshot: RegistrySnapshot | null;
  sort: SortKey;
  isReversed: boolean;
  /** Identity of a child; null: the first. */
  selected: string | null;
  pane: Pane | null;
  /** What came of the last key. */
  notice: string;
  /** Why there is nothing new; empty: there is. */
  trouble: string;
}

export const START: Model = {
  snapshot: null,
  sort: 'memory',
  isReversed: false,
  selected: null,
  pane: null,
  notice: '',
  trouble: '',
};

export type Action = { type: 'quit' } | { type: 'suspend' } | { type: 'dump'; row: Row };

/** As `node:readline` names keys. */
export interface Key {
  name?: string | undefined;
  ctrl?: boolean | undefined;
  /** The characters themselves. */
  sequence?: string | undefined;
}

const DIRECT_SORTS: Readonly<Record<string, SortKey>> = {
  s: 'slot',
  m: 'memory',
  c: 'cpu',
  l: 'lag',
  b: 'busy',
  n: 'done',
  u: 'uptime',
};

export const HELP: readonly string[] = [
  'up, down, j, k        select a child',
  'left, right           sort by another column',
  'm c l b n u s         sort by memory, CPU, lag, busy, jobs done, uptime, slot',
  'r                     the other way round',
  'd                     dump: what does the selected child do?',
  'q, Ctrl-C             leave; Ctrl-Z: suspend',
  '',
  'MEM is PSS, RSS where the kernel does not show that. LAG is the longest',
  'delay of the event loop since the beat before. The curves have a value a',
  'beat, the newest on the right.',
];

/** @param page rows of the table that are seen at once */
export function onKey(model: Model, key: Key, page: number): { model: Model; action: Action | null } {
  const name = nameOf(key);
  if (name === 'ctrl-c' || (name === 'q' && !model.pane)) return { model, action: { type: 'quit' } };
  if (name === 'ctrl-z') return { model, action: { type: 'suspend' } };
  if (model.pane) return { model: onPaneKey(model, model.pane, name, page), action: null };
  const rows = rowsOf(model);
  if (name === 'd') {
    const row = selectedRow(model);
    return row ? { model, action: { type: 'dump', row } } : { model, action: null };
  }
  return { model: { ...model, notice: '', ...changeOf(model, name, rows, page) }, action: null };
}

function changeOf(model: Model, name: string, rows: readonly Row[], page: number): Partial<Model> {
  const direct = DIRECT_SORTS[name];
  if (direct) return { sort: direct };
  switch (name) {
    case 'r':
      return { isReversed: !model.isReversed };
    case 'left':
      return { sort: neighbour(model.sort, -1) };
    case 'right':
      return { sort: neighbour(model.sort, 1) };
    case 'up':
    case 'k':
      return { selected: moved(model, rows, -1) };
    case 'down':
    case 'j':
      return { selected: moved(model, rows, 1) };
    case 'pageup':
      return { selected: moved(model, rows, -page) };
    case 'pagedown':
    case 'space':
      return { selected: moved(model, rows, page) };
    case 'home':
    case 'g':
      return { selected: moved(model, rows, -rows.length) };
    case 'end':
      return { selected: moved(model, rows, rows.length) };
    case '?':
    case 'h':
      return { pane: { title: 'keys', lines: HELP, from: 0 } };
    default:
      return {};
  }
}

function onPaneKey(model: Model, pane: Pane, name: string, page: number): Model {
  const steps: Readonly<Record<string, number>> = {
    up: -1,
    k: -1,
    down: 1,
    j: 1,
    pageup: -page,
    pagedown: page,
    space: page,
    home: -pane.lines.length,
    end: pane.lines.length,
  };
  const step = steps[name];
  if (step === undefined) return { ...model, pane: null };
  const from = Math.max(0, Math.min(pane.lines.length - 1, pane.from + step));
  return { ...model, pane: { ...pane, from } };
}

function nameOf({ name, ctrl, sequence }: Key): string {
  if (ctrl && name !== undefined) return `ctrl-${name}`;
  return name ?? sequence ?? '';
}

function neighbour(sort: SortKey, step: number): SortKey {
  const at = SORT_KEYS.indexOf(sort) + step;
  return SORT_KEYS[(at + SORT_KEYS.length) % SORT_KEYS.length] ?? sort;
}

function moved(model: Model, rows: readonly Row[], step: number): string | null {
  const at = Math.max(0, Math.min(rows.length - 1, indexOfSelected(model, rows) + step));
  return rows[at]?.child.identity ?? null;
}

export function rowsOf({ snapshot, sort, isReversed }: Model): Row[] {
  return sortedRows(snapshot?.masters ?? [], sort, isReversed);
}

/** Who is selected, and gone by now: then whoever is first. */
export function indexOfSelected({ selected }: Model, rows: readonly Row[]): number {
  return Math.max(
    0,
    rows.findIndex(({ child }) => child.identity === selected),
  );
}

function selectedRow(model: Model): Row | undefined {
  const rows = rowsOf(model);
  return rows[indexOfSelected(model, rows)];
}
