/** `swarm jobs`: what runs now, in which child. */
import { jobsOf } from '../registry/reader.js';
import { formatDuration } from '../units.js';
import { type RegistryReading, readRegistry } from './registry-access.js';
import type { RegistryCommandOptions } from './registry-options.js';
import { jsonText, type Screen, terminalScreen } from './screen.js';
import { type Column, formatTable } from './table.js';
import { safeText } from './terminal-text.js';

const COLUMNS: readonly Column[] = [
  { title: 'QUEUE', cutTo: 6 },
  { title: 'ID', cutTo: 8 },
  { title: 'NAME', cutTo: 6, dropOrder: 1 },
  { title: 'SINCE', align: 'right' },
  { title: 'SLOT', align: 'right' },
  { title: 'PID', align: 'right', dropOrder: 2 },
  { title: 'HOST', cutTo: 6, dropOrder: 3 },
];
/** Only where there is something to say: its master is stale. */
const STALE_COLUMN: Column = { title: 'MASTER' };

/** Returns the exit code. Throws a `SwarmError` when the registry cannot be read. */
export async function jobs(
  options: RegistryCommandOptions,
  screen: Screen = terminalScreen(),
): Promise<number> {
  const reading = await readRegistry(options);
  for (const warning of reading.snapshot.warnings) screen.note(`swarm: ${safeText(warning)}`);
  if (options.json) await screen.print(jsonText(jobsOf(reading.snapshot)));
  else await screen.print(jobsReport(reading, options.namespace, screen.width));
  return 0;
}

/** Pure: the text of `swarm jobs`. */
export function jobsReport({ snapshot, url }: RegistryReading, namespace: string, width: number): string {
  const running = jobsOf(snapshot);
  if (running.length === 0) return nothingRuns({ snapshot, url }, namespace);
  const hasStale = running.some(({ stale }) => stale);
  const rows = running.map(({ queue, id, name, startedAtMs, slot, pid, host, stale }) => [
    queue,
    id,
    name,
    formatDuration(snapshot.redisTimeMs - startedAtMs),
    String(slot),
    String(pid),
    host,
    ...(hasStale ? [stale ? 'STALE' : ''] : []),
  ]);
  return formatTable(hasStale ? [...COLUMNS, STALE_COLUMN] : COLUMNS, rows, width).join('\n');
}

export function nothingRuns({ snapshot, url }: RegistryReading, namespace: string): string {
  const masters = snapshot.masters.filter(({ stale }) => !stale).length;
  return `No job runs in namespace ${namespace} on ${url} (masters: ${masters})`;
}
