/** `swarm limits`: the limiters that were used of late, and how they are. */
import { allowsText } from '../limiter/allows.js';
import type { LimiterStatus } from '../limiter/status.js';
import { formatDuration } from '../units.js';
import { withRegistry } from './registry-access.js';
import type { RegistryCommandOptions } from './registry-options.js';
import { jsonText, type Screen, terminalScreen } from './screen.js';
import { type Column, formatTable } from './table.js';

export interface LimitsOptions extends RegistryCommandOptions {
  /** At most so many. */
  limit?: number | undefined;
}

const COLUMNS: readonly Column[] = [
  { title: 'NAME', cutTo: 12 },
  { title: 'ALLOWS', cutTo: 10 },
  { title: 'USED', align: 'right' },
  { title: 'WAITING', align: 'right' },
  { title: 'IMMEDIATE', shortTitle: 'IMMED', align: 'right', dropOrder: 4 },
  { title: 'WAITED', align: 'right', dropOrder: 3 },
  { title: 'MEAN WAIT', shortTitle: 'WAIT', align: 'right', dropOrder: 2 },
  { title: 'MEAN HOLD', shortTitle: 'HOLD', align: 'right', dropOrder: 1 },
  { title: 'OVER', align: 'right' },
  { title: 'RECLAIMED', shortTitle: 'RECL', align: 'right', dropOrder: 5 },
];

/** Returns the exit code. Throws a `SwarmError` when Redis cannot be read. */
export async function limits(options: LimitsOptions, screen: Screen = terminalScreen()): Promise<number> {
  const { value: all, url } = await withRegistry(options, (registry) =>
    registry.limits({ limit: options.limit }),
  );
  if (options.json) await screen.print(jsonText(all));
  else await screen.print(limitsReport(all, url, screen.width));
  return 0;
}

/** Pure: the table. */
export function limitsReport(all: readonly LimiterStatus[], url: string, width: number): string {
  if (all.length === 0) return `No limiter was used on ${url} in the last 15 minutes`;
  const rows = all.map((status) => [
    status.name,
    allowsText(status.definition),
    String(Math.round(status.used * 100) / 100),
    String(status.waiting),
    String(status.immediate),
    String(status.waited),
    mean(status.waitMs, status.waited),
    mean(status.holdMs, status.holds),
    String(status.overages),
    String(status.reclaimed),
  ]);
  return formatTable(COLUMNS, rows, width).join('\n');
}

function mean(sumMs: number, count: number): string {
  return count === 0 ? '-' : formatDuration(sumMs / count);
}
