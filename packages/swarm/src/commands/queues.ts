/** `swarm queues`: what waits in each queue, for how long, and what it gets of the children's work. */
import type { QueueLag } from '../registry/queues.js';
import { formatDuration } from '../units.js';
import { withRegistry } from './registry-access.js';
import type { RegistryCommandOptions } from './registry-options.js';
import { jsonText, type Screen, terminalScreen } from './screen.js';
import { type Column, formatTable } from './table.js';

const COLUMNS: readonly Column[] = [
  { title: 'QUEUE', cutTo: 8 },
  { title: 'WAITING', align: 'right' },
  { title: 'ACTIVE', align: 'right' },
  { title: 'DELAYED', align: 'right', dropOrder: 4 },
  { title: 'FAILED', align: 'right', dropOrder: 1 },
  { title: 'OLDEST', align: 'right' },
  { title: 'SHARE', align: 'right' },
  { title: 'PLACES', align: 'right', dropOrder: 3 },
  { title: 'CHILDREN', shortTitle: 'CHLD', align: 'right', dropOrder: 2 },
  { title: 'PREFIX', cutTo: 6, dropOrder: 5 },
];

/** Returns the exit code. Throws a `SwarmError` when the registry cannot be read. */
export async function queues(
  options: RegistryCommandOptions,
  screen: Screen = terminalScreen(),
): Promise<number> {
  const { value: lags, url } = await withRegistry(options, (registry) => registry.queues());
  if (options.json) await screen.print(jsonText(lags));
  else await screen.print(queuesReport(lags, url, options.namespace, screen.width));
  return 0;
}

/** Pure: the text of `swarm queues`. */
export function queuesReport(
  lags: readonly QueueLag[],
  url: string,
  namespace: string,
  width: number,
): string {
  if (lags.length === 0) return `No child works for a queue in namespace ${namespace} on ${url}.`;
  const lines = formatTable(COLUMNS, lags.map(cells), width);
  if (lags.some(({ waiting }) => waiting === null))
    lines.push('- : the queue is not on the Redis of the registry');
  return lines.join('\n');
}

function cells(lag: QueueLag): string[] {
  return [
    lag.queue,
    `${lag.waiting ?? '-'}${lag.paused ? ' paused' : ''}`,
    String(lag.active ?? '-'),
    String(lag.delayed ?? '-'),
    String(lag.failed ?? '-'),
    lag.oldestWaitMs === null ? '-' : formatDuration(lag.oldestWaitMs),
    lag.share === null ? '-' : `${Math.round(lag.share * 100)}%`,
    String(lag.concurrency),
    String(lag.children),
    lag.prefix,
  ];
}
