/** All that is known of one death, for people. Pure. What others wrote (stderr, names) is shown, never obeyed. */
import type { DeathJob, DeathRecord, MemoryPoint } from '../death.js';
import { frameText, ioText, summaryOf } from '../dump.js';
import { formatBytes, formatDuration } from '../units.js';
import { type Column, formatTable } from './table.js';
import { flowText, safeText } from './terminal-text.js';

const INDENT = '  ';
const BARS = '▁▂▃▄▅▆▇█';

const JOB_COLUMNS: readonly Column[] = [
  { title: 'QUEUE', cutTo: 6 },
  { title: 'ID', cutTo: 8 },
  { title: 'NAME', cutTo: 6 },
  { title: 'RAN', align: 'right' },
  { title: 'OUTCOME' },
  { title: 'BLAME', dropOrder: 1 },
];

export function deathReport(death: DeathRecord, width: number): string[] {
  const { evidence, stderr, addons } = death;
  const stack = evidence.uncaught?.stack || evidence.uncaught?.message || '';
  return [
    ...headLines(death, width),
    ...section('evidence', evidenceLines(death)),
    ...section('dump', dumpLines(death)),
    ...section('memory', memoryLines(death, width)),
    ...section('jobs', jobLines(death, width)),
    ...section('stack', stack === '' ? [] : stack.split('\n')),
    ...section(`stderr, the last ${stderr.length === 1 ? 'line' : `${stderr.length} lines`}`, stderr),
    ...section('native addons', addons),
  ];
}

function headLines(death: DeathRecord, width: number): string[] {
  const { identity, cause, code, signal, atMs, slot, group, generation, uptimeMs, tag, node } = death;
  const parts = [
    `${safeText(identity)}: ${cause}`,
    signal === null ? (code === null ? '' : `exit code ${code}`) : safeText(signal),
    timeText(atMs),
    `slot ${slot}`,
    group === 'default' ? '' : `group ${safeText(group)}`,
    `generation ${generation}`,
    `up for ${formatDuration(uptimeMs)}`,
    tag === '' ? '' : `tag ${safeText(tag)}`,
    node === '' ? '' : `node ${safeText(node)}`,
  ];
  return flowText(parts, width);
}

function evidenceLines({ evidence }: DeathRecord): string[] {
  const { summary, hint, killedFor, leavesFor, oom } = evidence;
  // none counted is what the hint says already
  const counted =
    oom?.counterFile && oom.counted > 0 ? `${oom.counterFile}: oom_kill went up by ${oom.counted}` : '';
  return [
    summary,
    hint ?? '',
    killedFor === null ? '' : `killed by its master: ${killedFor}`,
    leavesFor === null ? '' : `told to leave: ${leavesFor}`,
    counted,
    oom?.kernelLog ?? '',
  ].filter((line) => line !== '');
}

/** What the last dump saw; `swarm dumps` has all of it. */
function dumpLines({ dump }: DeathRecord): string[] {
  if (!dump) return [];
  const { stack, io } = dump;
  return [
    `${timeText(dump.atMs)}: ${summaryOf({ ...dump, processes: [], isAfterBlock: false })}`,
    ...stack.map((frame) => `  at ${frameText(frame)}`),
    ...io.filter(({ phase }) => phase !== 'open').map((each) => `  pending: ${ioText(each)}`),
  ];
}

function memoryLines({ rssBytes, pssBytes, heapUsedBytes, memory }: DeathRecord, width: number): string[] {
  const last = [
    rssBytes === null ? '' : `RSS ${formatBytes(rssBytes)}`,
    pssBytes === null ? '' : `PSS ${formatBytes(pssBytes)}`,
    heapUsedBytes === null ? '' : `heap ${formatBytes(heapUsedBytes)}`,
  ].filter((part) => part !== '');
  const lines = last.length > 0 ? [`${last.join(', ')}, as last measured`] : [];
  const rss = curveLine('RSS', memory, 1, width);
  const heap = curveLine('heap', memory, 3, width);
  return [...lines, ...[rss, heap].filter((line) => line !== '')];
}

/** `RSS  ▁▁▂▄█  70MB to 612MB over 42s` */
function curveLine(name: string, memory: readonly MemoryPoint[], index: 1 | 3, width: number): string {
  const points = memory.flatMap((point) => {
    const bytes = point[index];
    return bytes === null ? [] : [{ secondsAgo: point[0], bytes }];
  });
  const [first] = points;
  if (!first || points.length < 2) return '';
  const values = points.map(({ bytes }) => bytes);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const range = `${formatBytes(least)} to ${formatBytes(most)} over ${Math.round(first.secondsAgo)}s`;
  const room = Math.max(8, width - INDENT.length - range.length - 8);
  return `${name.padEnd(4)}  ${sparkline(values.slice(-room))}  ${range}`;
}

/** One bar a value, from the least to the most of them. */
export function sparkline(values: readonly number[]): string {
  const least = Math.min(...values);
  const span = Math.max(...values) - least;
  return values
    .map((value) => BARS[span > 0 ? Math.round(((value - least) / span) * (BARS.length - 1)) : 0])
    .join('');
}

function jobLines({ jobs, atMs }: DeathRecord, width: number): string[] {
  if (jobs.length === 0) return ['none'];
  const rows = jobs.map((job) => [job.queue, job.id, job.name, ranFor(job, atMs), job.outcome, blameOf(job)]);
  return formatTable(JOB_COLUMNS, rows, width - INDENT.length);
}

function ranFor({ startedAtMs }: DeathJob, atMs: number): string {
  return startedAtMs === null ? '-' : formatDuration(atMs - startedAtMs);
}

function blameOf({ blame }: DeathJob): string {
  return blame === null ? '-' : `${blame.exact} exact, ${blame.shared} shared`;
}

export function section(title: string, lines: readonly string[]): string[] {
  if (lines.length === 0) return [];
  return ['', title, ...lines.map((line) => INDENT + safeText(line))];
}

/** Local: `2026-03-01 12:00:01`. */
export function timeText(atMs: number): string {
  const at = new Date(atMs);
  if (Number.isNaN(at.getTime())) return '-';
  const pad = (value: number): string => String(value).padStart(2, '0');
  const date = [at.getFullYear(), pad(at.getMonth() + 1), pad(at.getDate())].join('-');
  return `${date} ${[at.getHours(), at.getMinutes(), at.getSeconds()].map(pad).join(':')}`;
}
