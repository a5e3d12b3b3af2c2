/**
 * Limits over several processes: how exact they are, what they let through of what they might, in which order,
 * and what that costs Redis. Beside other ways to the same end, each as its documentation has it; a witness that
 * none of them knows of counts what is at work.
 *
 * "of the ideal" compares with what would be if each use began at the very moment at which the one before ended, by
 * the time that these uses took here; of a rate, with a bucket that is full at the first use. `tokens` is no limiter,
 * but a list of tokens and a blocking pop: the fastest that two processes can hand on anything through this Redis on
 * this machine.
 *
 * A way that is not done within its time is said so in its row, and not tried again: the others still get theirs.
 */
import { startRedis, type TestRedis } from '../../test/dist/support/redis.js';
import { median, medianInterval } from './support/figures.js';
import { type Measured, measure } from './support/limit-figures.js';
import { type LimitRun, runLimit } from './support/limit-run.js';
import type { LimitSetup } from './support/limit-setup.js';
import { figure, print, progress, type Table } from './support/report.js';

/** `-- --rounds N`; without it three, or as many as this machine has time for. */
const rounds = process.argv.indexOf('--rounds');
const ROUNDS = rounds < 0 ? 3 : Number(process.argv[rounds + 1]);
/** For the rounds of one table; a further one begins only if it would end within. Both tables: less than 4 minutes. */
const ENOUGH_MS = rounds < 0 ? 112_000 : Number.POSITIVE_INFINITY;
const AT_ONCE = { processes: 8, waiters: 50, uses: 1, holdMs: 20, limit: 2, windowMs: 0, spreadMs: 1_000 };
/** Half as many again as are let in. */
const RATE = { processes: 4, waiters: 60, uses: 1, holdMs: 0, limit: 50, windowMs: 1_000, spreadMs: 3_200 };

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
  { title: 'bottleneck, minTime', kind: 'spaced' },
  { title: 'rate-limiter-flexible, queue', kind: 'flexible' },
  { title: 'BullMQ, limiter', kind: 'bullmq' },
];

/** What came of a way, in as many rounds as it was tried. */
interface Outcome {
  way: Way;
  rounds: Measured[];
  /** The run that was not whole, after which there were no more. */
  failed: LimitRun | null;
  errors: number;
  firstError: string | null;
}

async function measureWays(
  redis: TestRedis,
  ways: readonly Way[],
  setup: Omit<LimitSetup, 'kind'>,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = ways.map((way) => ({
    way,
    rounds: [],
    failed: null,
    errors: 0,
    firstError: null,
  }));
  const beganMs = performance.now();
  let longestMs = 0;
  for (let round = 1; round <= ROUNDS; round += 1) {
    const roundBeganMs = performance.now();
    if (round > 1 && roundBeganMs + longestMs > beganMs + ENOUGH_MS) break;
    for (const outcome of outcomes.filter(({ failed }) => failed === null)) {
      const { title, kind } = outcome.way;
      progress(`${title}, round ${round} of ${ROUNDS}`);
      const full = { ...setup, kind };
      const run = await runLimit(redis, full, `bench-${kind}-${round}-${setup.windowMs}`);
      outcome.errors += run.errors;
      outcome.firstError ??= run.firstError;
      if (run.failure === null) outcome.rounds.push(measure(run, full));
      else outcome.failed = run;
    }
    longestMs = Math.max(longestMs, performance.now() - roundBeganMs);
  }
  return outcomes;
}

function tableOf(title: string, most: string, outcomes: readonly Outcome[]): Table {
  const columns = ['', most, 'uses/s', 'of ideal', 'places off', 'commands', 'refused', 'Redis µs'];
  const rows = outcomes.map(({ way, rounds, failed }) => {
    if (rounds.length === 0) return [`${way.title}: ${failed?.failure}`, ...columns.slice(1).map(() => '–')];
    const middle = (field: keyof Measured): string => figure(median(rounds.map((round) => round[field])));
    return [
      failed ? `${way.title}: once ${failed.failure}` : way.title,
      String(Math.max(...rounds.map((round) => round.most))),
      middle('perSecond'),
      `${figure(100 * median(rounds.map(({ ofIdeal }) => ofIdeal)))} %`,
      middle('unfairness'),
      middle('commands'),
      middle('refusals'),
      middle('redisCpuUs'),
    ];
  });
  return { title, columns, rows };
}

function notesOn({ way, rounds, failed, errors, firstError }: Outcome): string[] {
  const notes: string[] = [];
  if (failed) {
    const { failure, uses, wanted } = failed;
    const round = rounds.length + 1;
    notes.push(
      `${way.title}, round ${round}: ${failure}: ${uses.length} of ${wanted} uses ended; not tried again`,
    );
  }
  if (errors > 0) notes.push(`${way.title}: ${errors} lines of errors, the first: ${firstError}`);
  return notes;
}

/** No figure of a way that failed in any round. */
function measuredOf(
  outcomes: readonly Outcome[],
  kind: string,
  field: keyof Measured,
  summary: (values: number[]) => number = median,
): number {
  const outcome = outcomes.find(({ way }) => way.kind === kind);
  if (!outcome || outcome.failed) return Number.NaN;
  return summary(outcome.rounds.map((round) => round[field]));
}

/** Within the rounds: how much is lost at each hand-over depends on what else the machine does. */
function ofIdealRange(outcomes: readonly Outcome[], kind: string): [low: number, high: number] {
  const outcome = outcomes.find(({ way }) => way.kind === kind);
  return medianInterval(outcome?.failed ? [] : (outcome?.rounds ?? []).map(({ ofIdeal }) => ofIdeal));
}

function roundsOf(outcomes: readonly Outcome[]): number {
  return Math.max(...outcomes.map(({ rounds }) => rounds.length));
}

function dataOf(outcomes: readonly Outcome[]): object {
  return Object.fromEntries(
    outcomes.map(({ way, rounds, failed, errors }) => [
      way.kind,
      { rounds, failure: failed?.failure ?? null, errors },
    ]),
  );
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
        value: measuredOf(atOnce, 'swarm', 'most', highest),
        atMost: AT_ONCE.limit,
      },
      {
        what: 'at once: uses ÷ ideal',
        value: measuredOf(atOnce, 'swarm', 'ofIdeal'),
        interval: ofIdealRange(atOnce, 'swarm'),
        atLeast: 0.95,
      },
      {
        what: 'at once: uses ÷ ideal, beside that of tokens',
        value: measuredOf(atOnce, 'swarm', 'ofIdeal') / measuredOf(atOnce, 'tokens', 'ofIdeal'),
        atLeast: 0.95,
      },
      { what: 'at once: places off, p99', value: measuredOf(atOnce, 'swarm', 'unfairness'), atMost: 2 },
    ],
    notes: [
      `medians of ${roundsOf(atOnce)} and ${roundsOf(rate)} rounds, but of the most the most`,
      'in any 1 s: as the uses began, later than they were let in by as long as their process waited for a core; a bucket lets through up to twice its size by what it is, and so do windows that do not slide',
      'rate-limiter-flexible has no limit of what is at work at once; its queue is of one process',
      'bottleneck in cluster mode, with the "ERR " taken from errors of its scripts, which Redis has put there since 7.0; its reservoir is filled in steps of 5 s only, minTime is the same rate without a burst',
      'jobs of BullMQ are all there at the beginning, and are in order by themselves',
      ...[...atOnce, ...rate].flatMap(notesOn),
    ],
    data: { atOnce: dataOf(atOnce), rate: dataOf(rate) },
  });
} finally {
  await redis.close();
}
