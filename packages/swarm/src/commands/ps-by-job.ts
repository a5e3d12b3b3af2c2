/** `swarm ps --by-job`: how much memory the runs of each kind of job leave behind in the children. */
import { jobMemoryOf } from '../registry/reader.js';
import type { JobMemoryOnHost } from '../registry/schema.js';
import { formatBytes } from '../units.js';
import { type RegistryReading, readRegistry } from './registry-access.js';
import type { RegistryCommandOptions } from './registry-options.js';
import { jsonText, type Screen, terminalScreen } from './screen.js';
import { type Column, formatTable } from './table.js';
import { safeText } from './terminal-text.js';

const COLUMNS: readonly Column[] = [
  { title: 'NAME', cutTo: 8 },
  { title: 'QUEUE', cutTo: 6 },
  { title: 'RUNS', align: 'right' },
  { title: 'MEDIAN', align: 'right' },
  { title: 'P95', align: 'right' },
  { title: 'APPROX' },
];
const MASTER_COLUMN: Column = { title: 'MASTER', cutTo: 8, dropOrder: 1 };

/** Returns the exit code. Throws a `SwarmError` when the registry cannot be read. */
export async function psByJob(
  options: RegistryCommandOptions,
  screen: Screen = terminalScreen(),
): Promise<number> {
  const reading = await readRegistry(options);
  for (const warning of reading.snapshot.warnings) screen.note(`swarm: ${safeText(warning)}`);
  if (options.json) await screen.print(jsonText(jobMemoryOf(reading.snapshot)));
  else await screen.print(byJobReport(reading, options.namespace, screen.width));
  return 0;
}

/** Pure: the text of `swarm ps --by-job`. */
export function byJobReport({ snapshot, url }: RegistryReading, namespace: string, width: number): string {
  const kinds = jobMemoryOf(snapshot);
  if (kinds.length === 0) {
    return `No job has ended yet under a master in namespace ${namespace} on ${url}.`;
  }
  const severalMasters = new Set(kinds.map(({ master }) => master)).size > 1;
  const columns = severalMasters ? [...COLUMNS, MASTER_COLUMN] : COLUMNS;
  return formatTable(columns, kinds.map(cells), width).join('\n');
}

function cells({ name, queue, runs, medianBytes, p95Bytes, approximate, master }: JobMemoryOnHost): string[] {
  return [
    name,
    queue,
    String(runs),
    growth(medianBytes),
    growth(p95Bytes),
    approximate ? 'yes' : 'no',
    master,
  ];
}

/** A run may leave less than there was before it. */
function growth(bytes: number): string {
  const size = Math.abs(bytes);
  const text = size < 1e6 ? `${Math.round(size / 1e3)}KB` : formatBytes(size);
  return bytes < 0 && text !== '0KB' ? `-${text}` : text;
}
