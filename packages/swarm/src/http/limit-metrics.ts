/**
 * The limiters on the master's Redis as metrics. They belong to no master, so every master tells the same of them.
 * Those used last, and no more than a hundred: limiters may be as many as users.
 */
import { type LimiterStatus, readLimits, type StatusRedis } from '../limiter/status.js';
import type { Collector } from './collectors.js';
import type { MetricFamily } from './exposition.js';

const MAX_LIMITERS = 100;

export class LimitCollector implements Collector {
  readonly name = 'limiters';
  #client: StatusRedis | null = null;

  /** From now on there is a Redis to ask. */
  use(client: StatusRedis): void {
    this.#client = client;
  }

  async collect(): Promise<MetricFamily[]> {
    return this.#client ? limitMetrics(await readLimits(this.#client, MAX_LIMITERS)) : [];
  }
}

type Read = (status: LimiterStatus) => number | null;

const FAMILIES: readonly [name: string, type: 'gauge' | 'counter', help: string, read: Read][] = [
  [
    'swarm_limiter_limit',
    'gauge',
    'What a limiter allows, at once, in a time, or of points.',
    (s) => s.limit,
  ],
  ['swarm_limiter_used', 'gauge', 'What is used of it now.', (s) => s.used],
  ['swarm_limiter_held', 'gauge', 'Leases that are held.', (s) => s.held],
  ['swarm_limiter_waiting', 'gauge', 'Who waits for its turn.', (s) => s.waiting],
  ['swarm_limiter_immediate_total', 'counter', 'Uses that were let in at once.', (s) => s.immediate],
  ['swarm_limiter_waited_total', 'counter', 'Uses that were let in after a wait.', (s) => s.waited],
  ['swarm_limiter_wait_seconds_total', 'counter', 'How long these waited.', (s) => s.waitMs / 1_000],
  ['swarm_limiter_holds_total', 'counter', 'Leases that were given back.', (s) => s.holds],
  ['swarm_limiter_hold_seconds_total', 'counter', 'How long these were held.', (s) => s.holdMs / 1_000],
  ['swarm_limiter_overages_total', 'counter', 'Uses that were not let in.', (s) => s.overages],
  [
    'swarm_limiter_reclaimed_total',
    'counter',
    'Leases that ended because nobody renewed them, or their holder was dead.',
    (s) => s.reclaimed,
  ],
];

/** Pure. */
export function limitMetrics(all: readonly LimiterStatus[]): MetricFamily[] {
  return FAMILIES.map(([name, type, help, read]) => ({
    name,
    help,
    type,
    samples: all.map((status) => ({
      labels: { limiter: status.name, type: status.type },
      value: read(status),
    })),
  }));
}
