/** `swarm jobs --slow`: what runs now, as a multiple of what jobs of that name usually take. */
import { slowJobsOf } from '../registry/reader.js';
import type { SlowJob } from '../registry/schema.js';
import { formatDuration } from '../units.js';
import { nothingRuns } from './jobs.js';
import { type RegistryReading, readRegistry } from './registry-access.js';
import type { RegistryCommandOptions } from './registry-options.js';
import { jsonText, type Screen, terminalScreen } from './screen.js';
import { type Column, formatTable } from './table.js';
import { safeText } from './terminal-text.js';

const COLUMNS: readonly Column[] = [
  { title: 'TIMES', align: 'right' },
  { title: 'SINCE', align: 'right' },
  { title: 'USUAL', align: 'right' },
  { title: 'QUEUE', cutTo: 6 },
  { title: 'ID', cutTo: 8 },
  { title: 'NAME', cutTo: 6, dropOrder: 1 },
  { title: 'SLOT', align: 'right' },
  { title: 'PID', align: 'right', dropOrder: 2 },
  { title: 'HOST', cutTo: 6, dropOrder: 3 },
];

/** Returns the exit code. Throws a `SwarmError` when the registry cannot be read. */
export async function slowJobs(
  options: RegistryCommandOptions,
  screen: Screen = terminalScreen(),
): Promise<number> {
  const reading = await readRegistry(options);
  for (const warning of reading.snapshot.warnings) screen.note(`swarm: ${safeText(warning)}`);
  if (options.json) await screen.print(jsonText(slowJobsOf(reading.snapshot)));
  else await screen.print(slowJobsReport(reading, options.namespace, screen.width));
  return 0;
}

/** Pure: the text of `swarm jobs --slow`. */
export function slowJobsReport(reading: RegistryReading, namespace: string, width: number): string {
  const running = slowJobsOf(reading.snapshot);
  if (running.length === 0) return nothingRuns(reading, namespace);
  const rows = running.map((job) => cells(job, reading.snapshot.redisTimeMs));
  return formatTable(COLUMNS, rows, width).join('\n');
}

function cells(job: SlowJob, nowMs: number): string[] {
  const { queue, id, name, startedAtMs, usualMs, multiple, slot, pid, host } = job;
  return [
    multiple === null ? '-' : timesText(multiple),
    formatDuration(nowMs - startedAtMs),
    usualMs === null ? '-' : formatDuration(Math.max(1, usualMs)),
    queue,
    id,
    name,
    String(slot),
    String(pid),
    host,
  ];
}

/** `0.4×`, `12×` */
function timesText(multiple: number): string {
  return `${multiple < 10 ? multiple.toFixed(1) : Math.round(multiple)}×`;
}
