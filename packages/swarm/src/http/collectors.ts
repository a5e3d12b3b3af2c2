/**
 * Metrics come from collectors: what the master knows itself, and whoever has more to tell (queues, limiters).
 * One that must ask somebody has a second; what comes later, or fails, is missing from that scrape, and a
 * metric says so. No scrape waits for it longer.
 */
import type { MetricFamily, Sample } from './exposition.js';

export interface Collector {
  /** Of `swarm_collector_success`. */
  name: string;
  collect(): readonly MetricFamily[] | Promise<readonly MetricFamily[]>;
}

const COLLECT_WITHIN_MS = 1_000;

export async function collectAll(collectors: readonly Collector[]): Promise<MetricFamily[]> {
  const results = await Promise.all(collectors.map((collector) => collectWithin(collector)));
  const success: MetricFamily = {
    name: 'swarm_collector_success',
    help: '1 if a source of metrics answered this scrape in time.',
    type: 'gauge',
    samples: collectors.map(({ name }, at): Sample => {
      return { labels: { collector: name }, value: results[at] === null ? 0 : 1 };
    }),
  };
  return [...results.flatMap((families) => families ?? []), success];
}

/** null: not in time, or it failed. */
async function collectWithin(collector: Collector): Promise<readonly MetricFamily[] | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), COLLECT_WITHIN_MS);
  });
  try {
    return await Promise.race([collector.collect(), late]);
  } catch {
    return null;
  } finally {
    clearTimeout(timer);
  }
}
