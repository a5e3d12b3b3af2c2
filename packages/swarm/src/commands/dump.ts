/** `swarm dump`: asks masters for the stacks of children, and prints them. `swarm dumps`: those that were taken. */
import { type DumpRecord, whereItHangs } from '../dump.js';
import { usageError } from '../errors.js';
import type { DumpQuery, DumpsReading } from '../registry/dumps.js';
import type { CommandResult } from '../registry/index.js';
import { formatDuration } from '../units.js';
import { timeText } from './death-report.js';
import { dumpReport } from './dump-report.js';
import { withRegistry } from './registry-access.js';
import type { RegistryCommandOptions } from './registry-options.js';
import { jsonText, type Screen, terminalScreen } from './screen.js';
import { type Column, formatTable } from './table.js';
import { safeText } from './terminal-text.js';

export interface DumpsOptions extends RegistryCommandOptions, DumpQuery {}

const COLUMNS: readonly Column[] = [
  { title: 'AT' },
  { title: 'KIND' },
  { title: 'ASKED BY', dropOrder: 4 },
  { title: 'HOST', cutTo: 6, dropOrder: 3 },
  { title: 'SLOT', align: 'right', dropOrder: 2 },
  { title: 'PID', align: 'right' },
  { title: 'BLOCKED', align: 'right' },
  { title: 'JOB', cutTo: 10 },
  { title: 'IN', cutTo: 12, dropOrder: 1 },
];
const HOST_COLUMN = 3;

/** Exit code 0: all were dumped; 1: somebody was not. Throws a `SwarmError` when it cannot even be asked for. */
export async function dump(
  [target = 'all']: readonly string[],
  options: RegistryCommandOptions,
  screen: Screen = terminalScreen(),
): Promise<number> {
  const { value } = await withRegistry(options, async (registry) => {
    const results = await registry.send({ type: 'dump', target });
    const ids = results.flatMap(({ dumps = [] }) => dumps);
    const reading = ids.length > 0 ? await registry.readDumps({ ids }) : { dumps: [], warnings: [] };
    return { results, ...reading };
  });
  const { results, dumps: taken } = value;
  for (const result of results) if (result.state === 'failed') screen.note(failure(result));
  taken.sort((a, b) => a.slot - b.slot);
  if (options.json) await screen.print(jsonText(taken));
  else if (taken.length > 0) await screen.print(reports(taken, screen.width));
  return results.every(({ state }) => state === 'done') ? 0 : 1;
}

/** Returns the exit code. Throws a `SwarmError` when the registry cannot be read, or has none of this child. */
export async function dumps(options: DumpsOptions, screen: Screen = terminalScreen()): Promise<number> {
  const { limit, of, namespace } = options;
  const { value, url } = await withRegistry(options, (registry) => registry.readDumps({ limit, of }));
  for (const warning of value.warnings) screen.note(`swarm: ${safeText(warning)}`);
  if (of !== undefined && value.dumps.length === 0) {
    throw usageError(
      'SWARM_NO_SUCH_DUMP',
      `namespace ${namespace} on ${url} has no dump of ${JSON.stringify(of)}: swarm dumps lists those that it has, ` +
        'by pid, and swarm dump takes one now',
    );
  }
  if (options.json) await screen.print(jsonText(value.dumps));
  else if (of !== undefined) await screen.print(reports(value.dumps, screen.width));
  else await screen.print(dumpsReport(value, { url, namespace }, screen.width));
  return 0;
}

/** Pure: the table. */
export function dumpsReport(
  { dumps: records }: DumpsReading,
  { url, namespace }: { url: string; namespace: string },
  width: number,
): string {
  if (records.length === 0)
    return `No dump is stored in namespace ${namespace} on ${url}; swarm dump <child> takes one`;
  const hosts = new Set(records.map(({ host }) => host));
  const shown = (_: unknown, index: number): boolean => hosts.size > 1 || index !== HOST_COLUMN;
  const rows = records.map((record) => cellsOf(record).filter(shown));
  return formatTable(COLUMNS.filter(shown), rows, width).join('\n');
}

function cellsOf(record: DumpRecord): string[] {
  const { atMs, kind, trigger, host, slot, pid, blockedMs, job, jobs } = record;
  return [
    timeText(atMs),
    kind,
    trigger,
    host,
    String(slot),
    String(pid),
    blockedMs > 0 ? formatDuration(blockedMs) : '-',
    job ? `${job.queue}/${job.id}` : jobs.length > 0 ? `one of ${jobs.length}` : '-',
    whereItHangs(record) || '-',
  ];
}

function reports(records: readonly DumpRecord[], width: number): string {
  return records.map((record) => dumpReport(record, width).join('\n')).join('\n\n');
}

function failure({ child, master, message }: CommandResult): string {
  return safeText(`swarm: ${child ?? master}: dump failed: ${message}`);
}
