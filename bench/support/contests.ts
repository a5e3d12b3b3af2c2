/** Throughput: which processes take turns at which jobs. */
import type { TestRedis } from '../../../test/dist/support/redis.js';
import { Fetcher, type FetcherKind } from './fetcher.js';
import { median, medianInterval } from './figures.js';
import { figure, type Goal, type Table } from './report.js';
import { jobsPerSecond, measureTurns, type Turns, warmUp } from './turns.js';

/** V8 needs about as many to have compiled what is worth it; a process of jobs runs for days. */
const WARM_UP_JOBS = 10_000;

export interface Contest {
  title: string;
  queueCount: number;
  jobMs: number;
  /** Of each process, at the beginning of a turn: in strict order it comes to the second queue within it, and the third. */
  jobs: number;
  /** Of the swarm app. */
  concurrency: number;
  /** Of each stock Worker. */
  stockConcurrency: number;
  /** Jobs a second by those of stock Workers: the least that is wanted; null: none is, it is shown for comparison. */
  floors: Partial<Record<FetcherKind, number | null>>;
}

export const CONTESTS: readonly Contest[] = [
  {
    title: 'no-op jobs, 1 queue, concurrency 10',
    queueCount: 1,
    jobMs: 0,
    jobs: 6_400,
    concurrency: 10,
    stockConcurrency: 10,
    floors: { strict: 1 },
  },
  {
    title: '5 ms jobs, 1 queue, concurrency 10',
    queueCount: 1,
    jobMs: 5,
    jobs: 2_400,
    concurrency: 10,
    stockConcurrency: 10,
    floors: { strict: 1 },
  },
  {
    title: 'no-op jobs, 4 queues, concurrency 10 (stock: 10 each)',
    queueCount: 4,
    jobMs: 0,
    jobs: 6_400,
    concurrency: 10,
    stockConcurrency: 10,
    floors: { strict: 0.8, weighted: 0.75 },
  },
  {
    // what of the last one is due to a quarter of the jobs under way
    title: 'no-op jobs, 4 queues, concurrency 40 (stock: 10 each)',
    queueCount: 4,
    jobMs: 0,
    jobs: 6_400,
    concurrency: 40,
    stockConcurrency: 10,
    floors: { strict: null, weighted: null },
  },
  {
    title: '5 ms jobs, 4 queues, concurrency 12 (stock: 3 each)',
    queueCount: 4,
    jobMs: 5,
    jobs: 2_400,
    concurrency: 12,
    stockConcurrency: 3,
    floors: { strict: 1, weighted: 1 },
  },
];

export type Round = Map<FetcherKind, Turns>;

/** @param onRound before each */
export async function contestRounds(
  redis: TestRedis,
  contest: Contest,
  count: number,
  onRound: (round: number) => void,
): Promise<Round[]> {
  const fetchers: Fetcher[] = [];
  try {
    for (const kind of kindsOf(contest.floors)) {
      const { queueCount, concurrency, stockConcurrency } = contest;
      const places = kind === 'stock' ? stockConcurrency : concurrency;
      const options = { kind, name: `${kind}-${queueCount}-${places}`, queueCount, concurrency: places };
      const fetcher = await Fetcher.start(redis, options);
      fetchers.push(fetcher);
      await warmUp(fetcher, WARM_UP_JOBS);
    }
    const rounds: Round[] = [];
    for (let at = 0; at < count; at += 1) {
      onRound(at + 1);
      rounds.push(await contestRound(fetchers, contest));
    }
    return rounds;
  } finally {
    for (const fetcher of fetchers) await fetcher.close();
  }
}

async function contestRound(fetchers: readonly Fetcher[], { jobs, jobMs }: Contest): Promise<Round> {
  const turns = await measureTurns(fetchers, jobs, jobMs);
  return new Map([...turns].map(([{ kind }, result]) => [kind, result]));
}

export function contestTable({ title, floors }: Contest, rounds: readonly Round[]): Table {
  const kinds = kindsOf(floors);
  const turnsOf = (kind: FetcherKind): Turns[] => rounds.flatMap((round) => round.get(kind) ?? []);
  const row = (what: string, of: (turns: Turns) => number): string[] => {
    return [what, ...kinds.map((kind) => figure(median(turnsOf(kind).map(of))))];
  };
  return {
    title,
    columns: ['median of rounds', ...kinds],
    rows: [
      row('jobs/s', jobsPerSecond),
      ['÷ stock', ...kinds.map((kind) => figure(median(ratios(rounds, kind))))],
      row('CPU µs/job, process', ({ cpuMs, jobs }) => (1_000 * cpuMs) / jobs),
      row('CPU µs/job, Redis', ({ redisCpuMs, jobs }) => (1_000 * redisCpuMs) / jobs),
      row('Redis, part of its core', ({ redisCpuMs, ms }) => redisCpuMs / ms),
      row('commands/job', ({ commands, jobs }) => commands / jobs),
    ],
  };
}

export function contestGoals({ title, floors }: Contest, rounds: readonly Round[]): Goal[] {
  return (Object.entries(floors) as [FetcherKind, number | null][]).flatMap(([kind, atLeast]) => {
    if (atLeast === null) return [];
    const values = ratios(rounds, kind);
    const what = `${title}: jobs/s, ${kind} ÷ stock`;
    return [{ what, value: median(values), interval: medianInterval(values), atLeast }];
  });
}

/** Within a round. */
function ratios(rounds: readonly Round[], kind: FetcherKind): number[] {
  return rounds.flatMap((round) => {
    const [stock, turn] = [round.get('stock'), round.get(kind)];
    return stock && turn ? [jobsPerSecond(turn) / jobsPerSecond(stock)] : [];
  });
}

function kindsOf(floors: Contest['floors']): FetcherKind[] {
  return ['stock', ...(Object.keys(floors) as FetcherKind[])];
}
