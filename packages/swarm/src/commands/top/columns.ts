/**
 * The columns of the table. Pure. They have fixed widths, so that nothing jumps when figures change; which of them
 * there is room for depends on the width alone, and what is left over goes to the curves.
 */
import { formatBytes, formatDuration } from '../../units.js';
import { cutText, padText, safeText } from '../terminal-text.js';
import { BARS } from './ascii.js';
import type { History } from './history.js';
import { type Row, type SortKey, stateOf } from './rows.js';

export interface Column {
  title: string;
  sort: SortKey | null;
  width: number;
  /** The highest goes first where there is no room. */
  priority: number;
  align?: 'left';
  /** Takes what is left over, up to so much more. */
  grows?: number;
  cell: (row: Row, sources: Sources, width: number) => string;
}

/** What a cell is made of besides its row. */
export interface Sources {
  history: History;
  /** By Redis's clock. */
  nowMs: number;
}

const LEAST_LAG_SCALE_MS = 100;
/** A curve of memory that moves by less is flat. */
const FLAT_SHARE = 0.1;

const COLUMNS: readonly Column[] = [
  { title: 'HOST', sort: null, width: 10, priority: 6, align: 'left', cell: ({ master }) => master.host },
  { title: 'GROUP', sort: null, width: 7, priority: 9, align: 'left', cell: ({ child }) => child.group },
  { title: 'SLOT', sort: 'slot', width: 4, priority: 0, cell: ({ child }) => String(child.slot) },
  { title: 'STATE', sort: 'state', width: 8, priority: 0, align: 'left', cell: stateOf },
  { title: 'PID', sort: 'pid', width: 7, priority: 1, cell: ({ child }) => String(child.pid) },
  {
    title: 'MEM',
    sort: 'memory',
    width: 6,
    priority: 0,
    cell: ({ child }) => orDash(child.pssBytes ?? child.rssBytes, formatBytes),
  },
  { title: '', sort: null, width: 8, priority: 4, align: 'left', grows: 16, cell: memoryCurve },
  {
    title: 'CPU%',
    sort: 'cpu',
    width: 5,
    priority: 2,
    cell: ({ child }) => orDash(child.cpuPercent, (percent) => percent.toFixed(0)),
  },
  { title: 'LAG', sort: 'lag', width: 6, priority: 2, cell: ({ child }) => orDash(child.loopLagMs, brief) },
  { title: '', sort: null, width: 8, priority: 5, align: 'left', grows: 16, cell: lagCurve },
  {
    title: 'BUSY',
    sort: 'busy',
    width: 6,
    priority: 1,
    cell: ({ child }) => `${child.busy}/${child.concurrency}`,
  },
  { title: 'DONE', sort: 'done', width: 8, priority: 7, cell: ({ child }) => String(child.processed) },
  { title: 'RST', sort: 'restarts', width: 4, priority: 8, cell: ({ child }) => String(child.restarts) },
  {
    title: 'UPTIME',
    sort: 'uptime',
    width: 7,
    priority: 8,
    cell: ({ child }, { nowMs }) => brief(nowMs - child.startedAtMs),
  },
];

/** As many as there is room for. */
export function chooseColumns(rows: readonly Row[], sorted: SortKey, width: number): Column[] {
  const hosts = new Set(rows.map(({ master }) => master.host)).size;
  const groups = new Set(rows.map(({ child }) => child.group)).size;
  let columns = COLUMNS.filter(
    ({ title }) => (title !== 'HOST' || hosts > 1) && (title !== 'GROUP' || groups > 1),
  );
  const total = (): number => columns.reduce((sum, column) => sum + column.width + 1, -1);
  while (total() > width) {
    // the column that is sorted by stays
    const candidates = columns.filter(({ priority, sort }) => priority > 0 && sort !== sorted);
    const last = candidates.reduce<Column | null>(
      (most, each) => (most && most.priority > each.priority ? most : each),
      null,
    );
    if (!last) break;
    columns = columns.filter((column) => column !== last);
  }
  const growing = columns.filter(({ grows }) => grows !== undefined);
  const extra = growing.length === 0 ? 0 : Math.floor((width - total()) / growing.length);
  return columns.map((column) => {
    return column.grows === undefined
      ? column
      : { ...column, width: column.width + Math.max(0, Math.min(column.grows, extra)) };
  });
}

export function cells(columns: readonly Column[], cell: (column: Column, width: number) => string): string {
  return columns
    .map((column) => {
      const text = cutText(safeText(cell(column, column.width)), column.width);
      return padText(text, column.width, column.align ?? 'right');
    })
    .join(' ')
    .trimEnd();
}

function memoryCurve({ child }: Row, { history }: Sources, width: number): string {
  const values = history.of(child.identity).memoryBytes.slice(-width);
  const most = Math.max(...values, 1);
  const least = Math.min(...values, most * (1 - FLAT_SHARE));
  return curve(values, least, most);
}

function lagCurve({ child }: Row, { history }: Sources, width: number): string {
  const values = history.of(child.identity).loopLagMs.slice(-width);
  return curve(values, 0, Math.max(LEAST_LAG_SCALE_MS, ...values));
}

function curve(values: readonly number[], least: number, most: number): string {
  const span = Math.max(most - least, Number.EPSILON);
  const bar = (value: number): string =>
    BARS[Math.round(((value - least) / span) * (BARS.length - 1))] ?? ' ';
  return values.map(bar).join('');
}

/** The larger unit alone: `3m`. */
function brief(durationMs: number): string {
  return formatDuration(durationMs).split(' ')[0] ?? '';
}

export function orDash<T>(value: T | null, format: (value: T) => string): string {
  return value === null ? '-' : format(value);
}
