/**
 * What a child that works for many queues gives up for one concurrency and an order: the same jobs in one process, with
 * stock BullMQ Workers (one a queue, each with a concurrency of its own) and as a swarm app. First throughput, in turns
 * next to each other; then how long jobs wait on idle processes; then a flood: what a queue full of slow jobs does to the
 * other two.
 *
 * `npm run bench -- fetch`, and `-- --rounds 1` after it for a short look.
 */
import { startRedis, type TestRedis } from '../../test/dist/support/redis.js';
import {
  CONTESTS,
  type Contest,
  contestGoals,
  contestRounds,
  contestTable,
  type Round,
} from './support/contests.js';
import { Fetcher, type FetcherKind } from './support/fetcher.js';
import { median, percentile } from './support/figures.js';
import { floodGoal, floodRounds, floodTable } from './support/flood.js';
import { figure, type Goal, print, progress, type Table } from './support/report.js';
import { undisturbed } from './support/stolen-time.js';
import { delayedLateness, idleWaits } from './support/waits.js';

const ROUNDS = Number(process.argv[process.argv.indexOf('--rounds') + 1]) || 5;
const IDLE_JOBS = 60;
const DELAYED_JOBS = 25;
const QUEUES = 4;

interface Waits {
  kind: FetcherKind;
  /** ms */
  idle: number[];
  late: number[];
  connections: number;
}

async function waitsRounds(
  redis: TestRedis,
  count: number,
  onRound: (round: number) => void,
): Promise<Waits[][]> {
  const kinds: FetcherKind[] = ['stock', 'strict', 'weighted'];
  const fetchers: Fetcher[] = [];
  try {
    for (const kind of kinds) {
      const options = { kind, name: `idle-${kind}`, queueCount: QUEUES, concurrency: 10 };
      fetchers.push(await Fetcher.start(redis, options));
    }
    // a process that has not run anything yet is slow for reasons of its own
    for (const { queues } of fetchers) await idleWaits(queues, IDLE_JOBS);
    const rounds: Waits[][] = [];
    for (let round = 1; round <= count; round += 1) {
      onRound(round);
      const waits: Waits[] = [];
      for (const { kind, queues, connections } of fetchers) {
        const idle = await undisturbed(() => idleWaits(queues, IDLE_JOBS));
        const late = await undisturbed(() => delayedLateness(queues, DELAYED_JOBS));
        waits.push({ kind, idle, late, connections });
      }
      rounds.push(waits);
    }
    return rounds;
  } finally {
    for (const fetcher of fetchers) await fetcher.close();
  }
}

function figuresOf(rounds: readonly Waits[][], kind: FetcherKind) {
  const own = rounds.flat().filter((waits) => waits.kind === kind);
  const of = (field: 'idle' | 'late', share: number): number =>
    median(own.map((waits) => percentile(waits[field], share)));
  return {
    idle50: of('idle', 0.5),
    idle95: of('idle', 0.95),
    late50: of('late', 0.5),
    late95: of('late', 0.95),
    connections: median(own.map(({ connections }) => connections)),
  };
}

function waitsTable(rounds: readonly Waits[][]): Table {
  const kinds: FetcherKind[] = ['stock', 'strict', 'weighted'];
  return {
    title: `${QUEUES} queues, an idle process: from add to begin, and how late delayed jobs begin, ms`,
    columns: ['', 'begin p50', 'begin p95', 'late p50', 'late p95', 'connections'],
    rows: kinds.map((kind) => {
      const { idle50, idle95, late50, late95, connections } = figuresOf(rounds, kind);
      return [kind, ...[idle50, idle95, late50, late95, connections].map(figure)];
    }),
  };
}

function waitsGoals(rounds: readonly Waits[][]): Goal[] {
  const [stock, strict] = [figuresOf(rounds, 'stock'), figuresOf(rounds, 'strict')];
  return [
    // no worse: within what two measurements of the same thing differ by
    { what: 'idle, add to begin: p50 ÷ stock', value: strict.idle50 / stock.idle50, atMost: 1.1 },
    { what: 'idle, add to begin: p95 ÷ stock', value: strict.idle95 / stock.idle95, atMost: 1.1 },
    { what: 'delayed jobs, lateness: p50 ÷ stock', value: strict.late50 / stock.late50, atMost: 1 },
    { what: `connections of ${QUEUES} queues`, value: strict.connections, atMost: 2 },
  ];
}

const redis = await startRedis();
try {
  const told = (what: string) => (round: number) => progress(`${what}: round ${round} of ${ROUNDS}`);
  const contests: { contest: Contest; rounds: Round[] }[] = [];
  for (const contest of CONTESTS) {
    progress(`${contest.title}: warming up`);
    await redis.client.flushall();
    contests.push({
      contest,
      rounds: await contestRounds(redis, contest, ROUNDS, told(contest.title)),
    });
  }
  await redis.client.flushall();
  progress('idle processes: warming up');
  const waits = await waitsRounds(redis, ROUNDS, told('idle processes'));
  progress('flood: warming up');
  const floods = await floodRounds(redis, ROUNDS, told('flood'));
  print({
    tables: [
      ...contests.map(({ contest, rounds }) => contestTable(contest, rounds)),
      waitsTable(waits),
      floodTable(floods),
    ],
    goals: [
      ...contests.flatMap(({ contest, rounds }) => contestGoals(contest, rounds)),
      ...waitsGoals(waits),
      floodGoal(floods),
    ],
    notes: ['commands: scripts and blocking waits; what a script does inside is its own'],
    data: {
      contests: contests.map(({ contest, rounds }) => ({
        contest,
        rounds: rounds.map((round) => [...round]),
      })),
      waits,
      floods,
    },
  });
} finally {
  await redis.close();
}
