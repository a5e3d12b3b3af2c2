/** The picture of a moment, line by line. Pure. */
import { jobsOf } from '../../registry/reader.js';
import type { MasterRecord } from '../../registry/schema.js';
import { formatBytes, formatDuration } from '../../units.js';
import { generationText } from '../generation-text.js';
import { cellWidth, cutText, padText, safeText } from '../terminal-text.js';
import { type Column, cells, chooseColumns, orDash } from './columns.js';
import type { History } from './history.js';
import { indexOfSelected, type Model, rowsOf } from './model.js';
import { type Row, stateOf } from './rows.js';

export interface Line {
  text: string;
  style: 'plain' | 'title' | 'header' | 'selected' | 'bad' | 'dim';
}

export interface Scene {
  model: Model;
  history: History;
  /** Redacted. */
  url: string;
  namespace: string;
  width: number;
  height: number;
  /** For the corner, `12:00:01`. */
  clock: string;
}

/** Before each row, where the selected one is marked. */
const MARK = 2;
const MAX_MASTER_LINES = 3;
const KEYS = 'q quit  arrows select, sort  r reverse  d dump  ? help';

/** Exactly `height` lines, none wider than `width`. */
export function frame(scene: Scene): Line[] {
  const { model, width, height } = scene;
  const head = headLines(scene);
  const foot: Line[] = [
    ...detailLines(scene),
    { text: ` ${model.trouble || model.notice || KEYS}`, style: 'dim' },
  ];
  const room = Math.max(1, height - head.length - foot.length);
  const body = model.pane ? paneLines(scene, room) : tableLines(scene, room);
  const padding = Array.from(
    { length: Math.max(0, room - body.length) },
    (): Line => ({ text: '', style: 'plain' }),
  );
  const lines = [...head, ...body.slice(0, room), ...padding, ...foot];
  return lines.slice(0, height).map(({ text, style }) => ({ text: cutText(safeText(text), width), style }));
}

/** Rows of the table that are seen at once. */
export function pageSize(scene: Scene): number {
  return Math.max(1, scene.height - headLines(scene).length - detailLines(scene).length - 2);
}

function headLines({ model, history, url, namespace, width, clock }: Scene): Line[] {
  const masters = model.snapshot?.masters ?? [];
  const where = safeText(`swarm top  namespace ${namespace} on ${url}`);
  const title = `${padText(cutText(where, width - clock.length - 2), width - clock.length, 'left')}${clock}`;
  const shown = masters.length > MAX_MASTER_LINES ? masters.slice(0, MAX_MASTER_LINES - 1) : masters;
  const more = masters.length - shown.length;
  return [
    { text: title, style: 'title' },
    { text: summary(masters, history), style: 'plain' },
    ...shown.map((master): Line => masterLine(master, model.snapshot?.redisTimeMs ?? 0)),
    ...(more > 0 ? [{ text: `and ${more} more masters`, style: 'dim' } as const] : []),
    { text: '', style: 'plain' },
  ];
}

function summary(masters: readonly MasterRecord[], { jobsPerSecond }: History): string {
  const living = masters.filter(({ stale }) => !stale);
  const children = living.flatMap((master) => master.children);
  const sum = (value: (child: Row['child']) => number): number =>
    children.reduce((all, child) => all + value(child), 0);
  const wanted = living.reduce((all, { count }) => all + count, 0);
  const parts = [
    `${living.length} ${living.length === 1 ? 'master' : 'masters'}`,
    `${children.filter(({ state }) => state === 'up').length}/${wanted} up`,
    `${sum(({ busy }) => busy)} of ${sum(({ concurrency }) => concurrency)} busy`,
    formatBytes(sum(({ pssBytes, rssBytes }) => pssBytes ?? rssBytes ?? 0)),
    `cpu ${sum(({ cpuPercent }) => cpuPercent ?? 0).toFixed(0)}%`,
    `${sum(({ processed }) => processed)} done${jobsPerSecond === null ? '' : `, ${jobsPerSecond.toFixed(1)}/s`}`,
    `${sum(({ failed }) => failed)} failed`,
  ];
  return parts.join('  ');
}

function masterLine(master: MasterRecord, nowMs: number): Line {
  const { identity, tag, stale, state, beatAtMs, rttUs, children } = master;
  const stuck = children.filter(({ stuckSinceMs }) => stuckSinceMs !== null).length;
  const parts = [
    identity,
    tag,
    stale ? `STALE for ${formatDuration(nowMs - beatAtMs)}` : state,
    stuck > 0 ? `${stuck} stuck` : '',
    generationText(master, false),
    rttUs === null ? '' : `Redis ${(rttUs / 1_000).toFixed(1)}ms`,
  ];
  return {
    text: parts.filter((part) => part !== '').join('  '),
    style: stale || stuck > 0 ? 'bad' : 'plain',
  };
}

function tableLines(scene: Scene, room: number): Line[] {
  const { model } = scene;
  const rows = rowsOf(model);
  if (rows.length === 0) return [{ text: emptyText(scene), style: 'plain' }];
  const columns = chooseColumns(rows, model.sort, scene.width - MARK);
  const sources = { history: scene.history, nowMs: model.snapshot?.redisTimeMs ?? 0 };
  const selected = indexOfSelected(model, rows);
  const visible = Math.max(1, room - 1);
  const from = Math.max(0, Math.min(selected - Math.floor(visible / 2), rows.length - visible));
  const body = rows.slice(from, from + visible).map((row, index): Line => {
    const isSelected = from + index === selected;
    const text =
      (isSelected ? '> ' : '  ') + cells(columns, (column, width) => column.cell(row, sources, width));
    const isBad = ['stuck', 'failed', 'stale', 'backoff'].includes(stateOf(row));
    return { text, style: isSelected ? 'selected' : isBad ? 'bad' : 'plain' };
  });
  const arrow = model.isReversed ? '▴' : '▾';
  const header = cells(columns, ({ title, sort }: Column) =>
    sort === model.sort ? `${title}${arrow}` : title,
  );
  return [{ text: `  ${header}`, style: 'header' }, ...body];
}

function emptyText({ model, namespace, url }: Scene): string {
  if (!model.snapshot) return `waiting for ${url}`;
  return `No child is in namespace ${namespace}. Start some with: swarm --count 2 ./worker.js`;
}

/** Of the selected child. Always two lines: a footer that comes and goes is restless. */
function detailLines({ model, width }: Scene): Line[] {
  const rows = rowsOf(model);
  const row = rows[indexOfSelected(model, rows)];
  if (!row || !model.snapshot)
    return [
      { text: '', style: 'plain' },
      { text: '', style: 'plain' },
    ];
  const { child } = row;
  const { redisTimeMs } = model.snapshot;
  const facts = [
    child.identity,
    `generation ${child.generation}`,
    `up for ${formatDuration(redisTimeMs - child.startedAtMs)}`,
    `RSS ${orDash(child.rssBytes, formatBytes)}`,
    `heap ${orDash(child.heapUsedBytes, formatBytes)} of ${orDash(child.heapLimitBytes, formatBytes)}`,
    child.lastDeath?.cause ? `before: ${child.lastDeath.cause}` : '',
  ];
  const jobs = jobsOf({ ...model.snapshot, masters: [{ ...row.master, children: [child] }] });
  const names = jobs.map(({ queue, id, name, startedAtMs }) => {
    return `${queue}/${id} ${name} ${formatDuration(redisTimeMs - startedAtMs)}`;
  });
  const text = names.length === 0 ? 'runs nothing' : `runs ${fitted(names, width - 8)}`;
  return [
    { text: ` ${facts.filter((fact) => fact !== '').join('  ')}`, style: 'plain' },
    { text: ` ${text}`, style: 'plain' },
  ];
}

/** As many as there is room for, and how many more. */
function fitted(names: readonly string[], room: number): string {
  let text = '';
  for (const [index, name] of names.entries()) {
    const joined = text === '' ? safeText(name) : `${text}, ${safeText(name)}`;
    if (index > 0 && cellWidth(joined) > room - 12) return `${text}, and ${names.length - index} more`;
    text = joined;
  }
  return text;
}

function paneLines({ model: { pane } }: Scene, room: number): Line[] {
  if (!pane) return [];
  const lines = pane.lines.slice(pane.from, pane.from + room - 1);
  const more = pane.lines.length - pane.from - lines.length;
  const title = `${pane.title}${more > 0 ? `  (${more} more lines below)` : ''}  any other key: back`;
  return [{ text: title, style: 'header' }, ...lines.map((text): Line => ({ text, style: 'plain' }))];
}
