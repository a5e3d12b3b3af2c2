/**
 * The queues that children of this namespace work for as metrics: those of all masters, because that is what a queue has
 * to make do with. So every master tells the same of them.
 */
import { type QueueLag, queueLags } from '../registry/queues.js';
import { type RegistryClient, readSnapshot } from '../registry/reader.js';
import type { Collector } from './collectors.js';
import type { MetricFamily } from './exposition.js';

export class QueueCollector implements Collector {
  readonly name = 'queues';
  readonly #namespace: string;
  #client: RegistryClient | null = null;

  constructor(namespace: string) {
    this.#namespace = namespace;
  }

  /** From now on there is a Redis to ask. */
  use(client: RegistryClient): void {
    this.#client = client;
  }

  async collect(): Promise<MetricFamily[]> {
    if (!this.#client) return [];
    return queueMetrics(await queueLags(this.#client, await readSnapshot(this.#client, this.#namespace)));
  }
}

type Read = (lag: QueueLag) => number | null;

const FAMILIES: readonly [name: string, help: string, read: Read][] = [
  ['swarm_queue_waiting', 'Jobs that could start; those of a paused queue too.', (q) => q.waiting],
  ['swarm_queue_active', 'Jobs that run.', (q) => q.active],
  ['swarm_queue_delayed', 'Jobs that are not due yet.', (q) => q.delayed],
  ['swarm_queue_failed', 'Jobs that are kept as failed.', (q) => q.failed],
  [
    'swarm_queue_oldest_wait_seconds',
    'How long the job that is next has waited; 0: none waits.',
    (q) => (q.waiting === null ? null : (q.oldestWaitMs ?? 0) / 1_000),
  ],
  [
    'swarm_queue_paused',
    '1 while the queue is paused.',
    (q) => (q.paused === null ? null : Number(q.paused)),
  ],
  [
    'swarm_queue_share_ratio',
    'What part of all jobs that its children have begun since their start were its own.',
    (q) => q.share,
  ],
  ['swarm_queue_jobs_limit', 'Jobs of it that its children run at once, at most.', (q) => q.concurrency],
  ['swarm_queue_children', 'Children that work for it.', (q) => q.children],
];

/** Pure. */
export function queueMetrics(all: readonly QueueLag[]): MetricFamily[] {
  return FAMILIES.map(([name, help, read]) => ({
    name,
    help,
    type: 'gauge',
    samples: all.map((lag) => ({
      labels: { queue: lag.queue, prefix: lag.prefix, redis: lag.redisId },
      value: read(lag),
    })),
  }));
}
