/**
 * Limits over several processes: how exact they are, what they let through of what they might, in which order,
 * and what that costs Redis. Beside other ways to the same end, each as its documentation has it; a witness that
 * none of them knows of counts what is at work.
 *
 * "of the ideal" compares with what would be if each use began at the very moment at which the one before ended, by
 * the time that these uses took here. `tokens` is no limiter, but a list of tokens and a blocking pop: the
 * fastest that two processes can hand on anything through this Redis on this machine.
 */
import { startRedis, type TestRedis } from '../../test/dist/support/redis.js';
import { median, percentile } from './support/figures.js';
import { type LimitRun, type LimitSetup, runLimit, type Use } from './support/limit-run.js';
import { figure, print, progress, type Table } from './support/report.js';

/** `-- --rounds N`; a round takes about a minute. */
const rounds = process.argv.indexOf('--rounds');
const ROUNDS = rounds < 0 ? 3 : Number(process.argv[rounds + 1]);
const AT_ONCE = { processes: 8, waiters: 50, uses: 1, holdMs: 20, limit: 2, windowMs: 0, spreadMs: 1_000 };
/** Half as many again as are let in. */
const RATE = { processes: 4, waiters: 75, uses: 1, holdMs: 0, limit: 50, windowMs: 1_000, spreadMs: 4_000 };

interface Way {
  title: string;
  kind: string;
}

const AT_ONCE_WAYS: readonly Way[] = [
  { title: 'Limiter.concurrent', kind: 'swarm' },
  { title: 'bottleneck, maxConcurrent', kind: 'bottleneck' },
  { title: 'BullMQ, global concurrency', kind: 'bullmq' },
  { title: 'tokens (no limiter)', kind: 'tokens' },
];

const RATE_WAYS: readonly Way[] = [
  { title: 'Limiter.window', kind: 'window' },
  { title: 'Limiter.bucket', kind: 'bucket' },
  { title: 'Limiter.leaky', kind: 'leaky' },
  { title: 'bottleneck, reservoir', kind: 'reservoir' },
  { title: 'rate-limiter-flexible', kind: 'flexible' },
  { title: 'BullMQ, limiter', kind: 'bullmq' },
];

interface Measured {
  most: number;
  perSecond: number;
  ofIdeal: number;
  unfairness: number;
  commands: number;
  refusals: number;
  redisCpuUs: number;
}

function measure(run: LimitRun, setup: LimitSetup): Measured {
  const { uses } = run;
  const beganMs = Math.min(...uses.map(({ startedAtUs }) => startedAtUs / 1_000));
  const endedMs = Math.max(...uses.map(({ startedAtUs, heldMs }) => startedAtUs / 1_000 + heldMs));
  const spanMs = endedMs - beganMs;
  const heldMs = uses.reduce((sum, use) => sum + use.heldMs, 0);
  const isRate = setup.windowMs > 0;
  return {
    most: isRate ? mostWithin(uses, setup.windowMs) : Math.max(...uses.map(({ atWork }) => atWork)),
    perSecond: (uses.length * 1_000) / spanMs,
    // of a rate: from the use that took the last of what there was at the beginning
    ofIdeal: isRate
      ? (((uses.length - setup.limit) / setup.limit) * setup.windowMs) /
        (endedMs - nthStart(uses, setup.limit))
      : heldMs / (setup.limit * spanMs),
    unfairness: unfairness(uses),
    commands: run.commands / uses.length,
    refusals: run.refusals / uses.length,
    redisCpuUs: (run.redisCpuMs * 1_000) / uses.length,
  };
}

function nthStart(uses: readonly Use[], nth: number): number {
  const times = uses.map(({ startedAtUs }) => startedAtUs / 1_000).sort((a, b) => a - b);
  return times[nth - 1] ?? Number.NaN;
}

/** In any stretch of time of this length, as its beginning was seen from outside. */
function mostWithin(uses: readonly Use[], windowMs: number): number {
  const times = uses.map(({ startedAtUs }) => startedAtUs / 1_000).sort((a, b) => a - b);
  let most = 0;
  for (let first = 0, last = 0; last < times.length; last += 1) {
    while ((times[last] ?? 0) - (times[first] ?? 0) >= windowMs) first += 1;
    most = Math.max(most, last - first + 1);
  }
  return most;
}

/** How many places 99 of 100 uses began earlier or later than they came, at most. */
function unfairness(uses: readonly Use[]): number {
  const byArrival = [...uses].sort((a, b) => a.arrived - b.arrived);
  const rank = new Map(byArrival.map((use, at) => [use, at]));
  const byStart = [...uses].sort((a, b) => a.place - b.place);
  return percentile(
    byStart.map((use, at) => Math.abs(at - (rank.get(use) ?? 0))),
    0.99,
  );
}

async function measureWays(
  redis: TestRedis,
  ways: readonly Way[],
  setup: Omit<LimitSetup, 'kind'>,
): Promise<Map<Way, Measured[]>> {
  const measured = new Map<Way, Measured[]>(ways.map((way) => [way, []]));
  for (let round = 1; round <= ROUNDS; round += 1) {
    for (const way of ways) {
      progress(`${way.title}, round ${round} of ${ROUNDS}`);
      const full = { ...setup, kind: way.kind };
      const run = await runLimit(redis, full, `bench-${way.kind}-${round}-${setup.windowMs}`);
      measured.get(way)?.push(measure(run, full));
    }
  }
  return measured;
}

function tableOf(title: string, most: string, measured: ReadonlyMap<Way, readonly Measured[]>): Table {
  const rows = [...measured].map(([way, rounds]) => {
    const middle = (field: keyof Measured): string => figure(median(rounds.map((round) => round[field])));
    return [
      way.title,
      String(Math.max(...rounds.map((round) => round.most))),
      middle('perSecond'),
      `${figure(100 * median(rounds.map(({ ofIdeal }) => ofIdeal)))} %`,
      middle('unfairness'),
      middle('commands'),
      middle('refusals'),
      middle('redisCpuUs'),
    ];
  });
  const columns = ['', most, 'uses/s', 'of ideal', 'places off', 'commands', 'refused', 'Redis µs'];
  return { title, columns, rows };
}

function middleOf(
  measured: ReadonlyMap<Way, readonly Measured[]>,
  kind: string,
  field: keyof Measured,
  summary: (values: number[]) => number = median,
): number {
  const [, rounds = []] = [...measured].find(([way]) => way.kind === kind) ?? [];
  return summary(rounds.map((round) => round[field]));
}

const redis = await startRedis();
try {
  const atOnce = await measureWays(redis, AT_ONCE_WAYS, AT_ONCE);
  const rate = await measureWays(redis, RATE_WAYS, RATE);
  const highest = (values: number[]): number => Math.max(...values);
  print({
    tables: [
      tableOf(
        `at most ${AT_ONCE.limit} at once: ${AT_ONCE.processes} processes × ${AT_ONCE.waiters} waiters, ${AT_ONCE.holdMs} ms each (p99 of places off; commands, refusals and Redis's CPU time a use)`,
        'at once',
        atOnce,
      ),
      tableOf(
        `at most ${RATE.limit} a second: ${RATE.processes} processes × ${RATE.waiters} waiters within ${RATE.spreadMs / 1_000} s`,
        'in any 1 s',
        rate,
      ),
    ],
    goals: [
      {
        what: 'at once: never more than the limit',
        value: middleOf(atOnce, 'swarm', 'most', highest),
        atMost: AT_ONCE.limit,
      },
      { what: 'at once: uses ÷ ideal', value: middleOf(atOnce, 'swarm', 'ofIdeal'), atLeast: 0.95 },
      {
        what: 'at once: uses/s ÷ those of tokens',
        value: middleOf(atOnce, 'swarm', 'perSecond') / middleOf(atOnce, 'tokens', 'perSecond'),
        atLeast: 0.95,
      },
      { what: 'at once: places off, p99', value: middleOf(atOnce, 'swarm', 'unfairness'), atMost: 2 },
    ],
    notes: [
      `medians of ${ROUNDS} rounds, but of the most the most`,
      'rate-limiter-flexible has no limit of what is at work at once; it refuses, and the program asks again',
      'jobs of BullMQ are all there at the beginning, and are in order by themselves',
    ],
    data: {
      atOnce: Object.fromEntries([...atOnce].map(([{ kind }, rounds]) => [kind, rounds])),
      rate: Object.fromEntries([...rate].map(([{ kind }, rounds]) => [kind, rounds])),
    },
  });
} finally {
  await redis.close();
}
