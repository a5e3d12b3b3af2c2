/** `swarm ps`: every master of the namespace, on all hosts, with its children. */
import type { ChildRecord, MasterRecord } from '../registry/schema.js';
import { formatBytes, formatDuration } from '../units.js';
import { generationText } from './generation-text.js';
import { type RegistryReading, readRegistry } from './registry-access.js';
import type { RegistryCommandOptions } from './registry-options.js';
import { jsonText, type Screen, terminalScreen } from './screen.js';
import { type Column, formatTable } from './table.js';
import { flowText, safeText } from './terminal-text.js';

const COLUMNS: readonly Column[] = [
  { title: 'GROUP', cutTo: 4, dropOrder: 9 },
  { title: 'SLOT', align: 'right' },
  { title: 'STATE', cutTo: 4 },
  { title: 'GEN', align: 'right', dropOrder: 8 },
  { title: 'PID', align: 'right' },
  { title: 'PSS', align: 'right', dropOrder: 4 },
  { title: 'RSS', align: 'right', dropOrder: 1 },
  { title: 'CPU%', align: 'right', dropOrder: 2 },
  { title: 'LAG', align: 'right', dropOrder: 7 },
  { title: 'BEAT', align: 'right', dropOrder: 5 },
  { title: 'BUSY', align: 'right' },
  { title: 'DONE', align: 'right', dropOrder: 3 },
  { title: 'RESTARTS', shortTitle: 'RST', align: 'right', dropOrder: 2 },
  { title: 'UPTIME', align: 'right', dropOrder: 6 },
];

/** Returns the exit code. Throws a `SwarmError` when the registry cannot be read. */
export async function ps(
  options: RegistryCommandOptions,
  screen: Screen = terminalScreen(),
): Promise<number> {
  const reading = await readRegistry(options);
  for (const warning of reading.snapshot.warnings) screen.note(`swarm: ${safeText(warning)}`);
  if (options.json) await screen.print(jsonText(reading.snapshot.masters));
  else await screen.print(psReport(reading, options.namespace, screen.width));
  return 0;
}

/** Pure: the text of `swarm ps`. */
export function psReport({ snapshot, url }: RegistryReading, namespace: string, width: number): string {
  const { masters, redisTimeMs } = snapshot;
  if (masters.length === 0) {
    return `No master is in namespace ${namespace} on ${url}. Start one with: swarm --count 2 ./worker.js (same --redis and --namespace). If one runs, swarm doctor says in which namespace`;
  }
  const blocks = masters.map((master) => masterLines(master, url, redisTimeMs, width).join('\n'));
  return blocks.join('\n\n');
}

function masterLines(master: MasterRecord, url: string, nowMs: number, width: number): string[] {
  const { identity, host, tag, state, children, count, beatAtMs, stale, version } = master;
  const up = children.filter((child) => child.state === 'up').length;
  const header = [
    safeText(identity),
    identity.startsWith(`${host}:`) ? '' : `host ${safeText(host)}`,
    tag === '' ? '' : `tag ${safeText(tag)}`,
    stale ? `STALE for ${formatDuration(nowMs - beatAtMs)} (was ${state})` : state,
    `${up}/${count} up`,
    generationText(master, true),
    version === '' ? '' : `swarm ${safeText(version)}`,
    url,
  ];
  const lines = flowText(header, width);
  if (children.length === 0) return lines;
  const grouped = children.some(({ group }) => group !== 'default');
  const columns = grouped ? COLUMNS : COLUMNS.slice(1);
  const rows = children.map((child) => childCells(child, nowMs).slice(grouped ? 0 : 1));
  return [...lines, ...formatTable(columns, rows, width)];
}

function childCells(child: ChildRecord, nowMs: number): string[] {
  const runs = child.state !== 'backoff' && child.state !== 'failed';
  const live = (text: string) => (runs ? text : '-');
  return [
    child.group,
    String(child.slot),
    child.stuckSinceMs === null ? child.state : 'stuck',
    String(child.generation),
    live(String(child.pid)),
    live(orDash(child.pssBytes, formatBytes)),
    live(orDash(child.rssBytes, formatBytes)),
    live(orDash(child.cpuPercent, (percent) => percent.toFixed(0))),
    live(orDash(child.loopLagMs, briefDuration)),
    live(orDash(child.beatAtMs, (atMs) => briefDuration(nowMs - atMs))),
    live(`${child.busy}/${child.concurrency}`),
    String(child.processed),
    String(child.restarts),
    live(formatDuration(nowMs - child.startedAtMs).replace(' ', '')),
  ];
}

/** The larger unit alone: `3m`. */
function briefDuration(durationMs: number): string {
  return formatDuration(durationMs).split(' ')[0] ?? '';
}

function orDash<T>(value: T | null, format: (value: T) => string): string {
  return value === null ? '-' : format(value);
}
