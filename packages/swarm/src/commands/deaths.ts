/** `swarm deaths`: how processes ended, the newest first; with one named, all that is known of its end. */
import type { DeathRecord } from '../death.js';
import { usageError } from '../errors.js';
import type { DeathQuery, DeathsReading } from '../registry/deaths.js';
import { formatBytes, formatDuration } from '../units.js';
import { deathReport, timeText } from './death-report.js';
import { withRegistry } from './registry-access.js';
import type { RegistryCommandOptions } from './registry-options.js';
import { jsonText, type Screen, terminalScreen } from './screen.js';
import { type Column, formatTable } from './table.js';
import { safeText } from './terminal-text.js';

export interface DeathsOptions extends RegistryCommandOptions, DeathQuery {}

const COLUMNS: readonly Column[] = [
  { title: 'AT' },
  { title: 'CAUSE', cutTo: 8 },
  { title: 'HOST', cutTo: 6, dropOrder: 3 },
  { title: 'SLOT', align: 'right', dropOrder: 2 },
  { title: 'PID', align: 'right' },
  { title: 'UPTIME', align: 'right', dropOrder: 5 },
  { title: 'RSS', align: 'right', dropOrder: 4 },
  { title: 'JOBS', align: 'right' },
  { title: 'EVIDENCE', cutTo: 12, dropOrder: 1 },
];
const HOST_COLUMN = 2;

/** What `--limit` takes. Throws `SWARM_BAD_LIMIT`. */
export function parseLimit(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const limit = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (limit >= 1) return limit;
  throw usageError(
    'SWARM_BAD_LIMIT',
    `--limit takes a whole number from 1 to 999999, got ${JSON.stringify(text)}`,
  );
}

/** Returns the exit code. Throws a `SwarmError` when the registry cannot be read, or knows no such death. */
export async function deaths(options: DeathsOptions, screen: Screen = terminalScreen()): Promise<number> {
  const { limit, all, of, namespace } = options;
  const { value, url } = await withRegistry(options, (registry) => registry.readDeaths({ limit, all, of }));
  for (const warning of value.warnings) screen.note(`swarm: ${safeText(warning)}`);
  if (of !== undefined && value.deaths.length === 0) {
    throw usageError(
      'SWARM_NO_SUCH_DEATH',
      `namespace ${namespace} on ${url} has no record of the death of ${JSON.stringify(of)}: ` +
        'swarm deaths --all lists those that it has, by pid',
    );
  }
  if (options.json) await screen.print(jsonText(value.deaths));
  else if (of !== undefined) await screen.print(detailText(value, screen.width));
  else await screen.print(deathsReport(value, { url, namespace, all: all === true }, screen.width));
  return 0;
}

/** Pure: the table. */
export function deathsReport(
  { deaths: records }: DeathsReading,
  { url, namespace, all }: { url: string; namespace: string; all: boolean },
  width: number,
): string {
  if (records.length === 0) {
    const which = all ? '' : ' (those that left as told: --all)';
    return `No death is on record in namespace ${namespace} on ${url}${which}`;
  }
  const hosts = new Set(records.map(({ host }) => host));
  const shown = (_: unknown, index: number): boolean => hosts.size > 1 || index !== HOST_COLUMN;
  const rows = records.map((record) => cellsOf(record).filter(shown));
  return formatTable(COLUMNS.filter(shown), rows, width).join('\n');
}

function cellsOf({
  atMs,
  cause,
  host,
  slot,
  pid,
  uptimeMs,
  rssBytes,
  jobs,
  evidence,
}: DeathRecord): string[] {
  return [
    timeText(atMs),
    cause,
    host,
    String(slot),
    String(pid),
    formatDuration(uptimeMs),
    rssBytes === null ? '-' : formatBytes(rssBytes),
    String(jobs.length),
    evidence.summary,
  ];
}

function detailText({ deaths: [newest, ...older] }: DeathsReading, width: number): string {
  if (!newest) return '';
  const others = older.map(({ identity, atMs }) => `also: ${safeText(identity)}, ${timeText(atMs)}`);
  return [...deathReport(newest, width), ...(others.length > 0 ? ['', ...others] : [])].join('\n');
}
