/**
 * Three queues, the last of them full of slow jobs: how long do jobs of the other two wait, beside how long they wait
 * without the flood? With a limit of two for the slow queue, in strict order without a limit, and with stock Workers.
 */
import type { Queue } from 'bullmq';
import type { TestRedis } from '../../../test/dist/support/redis.js';
import { waitFor } from '../../../test/dist/support/wait.js';
import { Fetcher, type FetcherKind } from './fetcher.js';
import { median, percentile } from './figures.js';
import { figure, type Goal, type Table } from './report.js';
import { undisturbed } from './stolen-time.js';
import { probeWaits } from './waits.js';

const SLOW_JOBS = 2_000;
const SLOW_MS = 200;
const PROBES = { count: 150, everyMs: 12 };
const CONCURRENCY = 10;
const KINDS: readonly FetcherKind[] = ['limited', 'strict', 'stock'];

export interface Flood {
  kind: FetcherKind;
  /** How long jobs of the other queues waited, ms. */
  calm: number[];
  flooded: number[];
}

/** @param onRound before each */
export async function floodRounds(
  redis: TestRedis,
  count: number,
  onRound: (round: number) => void,
): Promise<Flood[][]> {
  const fetchers: Fetcher[] = [];
  try {
    for (const kind of KINDS) {
      const options = { kind, name: `flood-${kind}`, queueCount: 3, concurrency: CONCURRENCY };
      const fetcher = await Fetcher.start(redis, options);
      fetchers.push(fetcher);
      await probeWaits(fetcher.queues.slice(0, 2), PROBES);
    }
    const rounds: Flood[][] = [];
    for (let round = 1; round <= count; round += 1) {
      onRound(round);
      const floods: Flood[] = [];
      for (const fetcher of fetchers) floods.push(await undisturbed(() => flood(fetcher)));
      rounds.push(floods);
    }
    return rounds;
  } finally {
    for (const fetcher of fetchers) await fetcher.close();
  }
}

/** Leaves nothing waiting. */
async function flood({ kind, queues }: Fetcher): Promise<Flood> {
  const others = queues.slice(0, 2);
  const slow = queues[2] as Queue;
  const calm = await probeWaits(others, PROBES);
  await slow.addBulk(Array.from({ length: SLOW_JOBS }, () => ({ name: 'slow', data: { ms: SLOW_MS } })));
  const flooded = await probeWaits(others, PROBES);
  await slow.drain();
  await waitFor('the slow jobs under way are done', async () => (await slow.getActiveCount()) === 0);
  return { kind, calm, flooded };
}

export function floodTable(rounds: readonly Flood[][]): Table {
  const rows = KINDS.map((kind) => {
    const own = rounds.flat().filter((flood) => flood.kind === kind);
    const of = (side: 'calm' | 'flooded', share: number): string => {
      return figure(median(own.map((flood) => percentile(flood[side], share))));
    };
    return [
      kind,
      of('calm', 0.5),
      of('calm', 0.95),
      of('flooded', 0.5),
      of('flooded', 0.95),
      figure(factor(own)),
    ];
  });
  return {
    title: `3 queues, the last flooded with ${SLOW_JOBS} jobs of ${SLOW_MS} ms: waits of the other two, ms`,
    columns: ['', 'calm p50', 'calm p95', 'flooded p50', 'flooded p95', 'p95 ÷ calm'],
    rows,
  };
}

export function floodGoal(rounds: readonly Flood[][]): Goal {
  const limited = rounds.flat().filter(({ kind }) => kind === 'limited');
  return { what: 'flood behind a limit of 2: p95 of the others ÷ calm', value: factor(limited), atMost: 2 };
}

function factor(floods: readonly Flood[]): number {
  return median(floods.map(({ calm, flooded }) => percentile(flooded, 0.95) / percentile(calm, 0.95)));
}
