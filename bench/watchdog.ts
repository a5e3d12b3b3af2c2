/**
 * What the watchdog costs a child that is well, and how soon a dump of one that is not is stored. The same program runs
 * under two masters, one of them without watchdogs. Both do the same jobs at the same time, by turns of a few
 * milliseconds (SIGSTOP, SIGCONT): a machine that is shared with others works at half its speed for a second now and
 * then, and that is to happen to both. CPU time a job is compared, the watchdog's own included.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Queue } from 'bullmq';
import { startRedis, type TestRedis } from '../../test/dist/support/redis.js';
import type { Swarm } from '../../test/dist/support/swarm.js';
import { waitFor } from '../../test/dist/support/wait.js';
import { median, medianInterval, percentile } from './support/figures.js';
import { type Fleet, startSwarm } from './support/fleet.js';
import { figure, type Goal, print, progress, type Table } from './support/report.js';
import { jobsLeft } from './support/turns.js';

/** `-- --rounds N`; none: only the dumps. */
const rounds = process.argv.indexOf('--rounds');
const ROUNDS = rounds < 0 ? 3 : Number(process.argv[rounds + 1]);
/** In each round. */
const PAIRS = 6;
/** Shorter than what else happens to the machine lasts, so that it happens to both sides. */
const SLICE_MS = 20;
const SIDES = ['with', 'without'] as const;
const WARM_UP_JOBS = 2_400;
const SETTLE_MS = 50;
const POLL_MS = 2;
const IDLE_MS = 4_000;
const BLOCKS = 10;
const THRESHOLD_MS = 1_000;
/** Longer than the threshold, and than a dump takes. */
const BLOCK_CPU_MS = 1_800;
const DUMPS = 'swarm:{default}:dumps';
const GOAL_RATIO = 1.02;
const GOAL_RSS_MB = 12;
const GOAL_IDLE_PERCENT = 0.3;
const GOAL_STORED_MS = 300;

type Side = (typeof SIDES)[number];

interface Workload {
  kind: string;
  /** Of each side, in a pair. */
  jobs: number;
}

const WORKLOADS: readonly Workload[] = [
  { kind: 'nothing', jobs: 5_000 },
  { kind: 'compute', jobs: 400 },
  { kind: 'awaits', jobs: 2_000 },
];

interface Party {
  fleet: Fleet;
  queue: Queue;
}

interface Stored {
  /** From the moment at which the block was as long as the threshold, as the watchdog counts: CPU that it had to wait for does not. */
  thresholdMs: number;
  /** The same by the clock; on a machine with nothing else to do. */
  clockMs: number;
  /** From the moment at which the master asked for it. */
  decisionMs: number;
}

interface Measured {
  /** CPU µs a job, by workload and side, a value a pair. */
  usPerJob: Record<string, Record<Side, number[]>>;
  rssMb: Record<Side, number[]>;
  /** Of one CPU. */
  idlePercent: Record<Side, number[]>;
}

async function start(side: Side, redis: TestRedis): Promise<Party> {
  const env = {
    QUEUE: side,
    QUEUE_REDIS_PORT: String(redis.port),
    SWARM_NAMESPACE: side,
    ...(side === 'without' ? { SWARM_NO_WATCHDOG: '1' } : {}),
  };
  const options = { app: 'watched.mjs', count: 1, env, nodeArguments: ['--expose-gc'] };
  const fleet = await startSwarm(options, redis.url);
  return { fleet, queue: new Queue(side, { connection: { host: '127.0.0.1', port: redis.port } }) };
}

async function measureRound(redis: TestRedis, measured: Measured): Promise<void> {
  await redis.client.flushall();
  const parties = {} as Record<Side, Party>;
  try {
    for (const side of ['with', 'without'] as const) parties[side] = await start(side, redis);
    await delay(SETTLE_MS);
    const before = Object.values(parties).map(({ fleet }) => threadsCpuMs(fleet));
    await delay(IDLE_MS);
    for (const [at, [side, { fleet }]] of Object.entries(parties).entries()) {
      measured.idlePercent[side as Side].push((100 * (threadsCpuMs(fleet) - (before[at] ?? 0))) / IDLE_MS);
      measured.rssMb[side as Side].push(rssMb(fleet));
    }
    for (const { fleet, queue } of Object.values(parties)) {
      for (const { kind } of WORKLOADS) await run(queue, redis, kind, WARM_UP_JOBS / WORKLOADS.length);
      await queue.pause();
      signal(fleet, 'SIGSTOP');
    }
    for (const { kind, jobs } of WORKLOADS) {
      for (let pair = 0; pair < PAIRS; pair += 1) {
        const usPerJob = await measurePair(parties, redis, kind, jobs);
        for (const side of SIDES) measured.usPerJob[kind]?.[side].push(usPerJob[side]);
      }
    }
  } finally {
    for (const { fleet, queue } of Object.values(parties)) {
      await fleet.close();
      await queue.close();
    }
  }
}

/** Both do as many jobs, in slices by turns. Resolves to CPU µs a job. */
async function measurePair(
  parties: Record<Side, Party>,
  redis: TestRedis,
  kind: string,
  jobs: number,
): Promise<Record<Side, number>> {
  const both = [parties.with, parties.without];
  const before = both.map(({ fleet }) => threadsCpuMs(fleet));
  for (const { queue } of both) {
    await add(queue, kind, jobs);
    await queue.resume();
  }
  let order = both;
  while ((await Promise.all(both.map(({ queue }) => left(redis, queue)))).some((count) => count > 0)) {
    // the first after the question finds a colder machine
    order = order.toReversed();
    for (const { fleet } of order) {
      signal(fleet, 'SIGCONT');
      await delay(SLICE_MS);
      signal(fleet, 'SIGSTOP');
    }
  }
  const usPerJob = both.map(({ fleet }, at) => {
    return ((threadsCpuMs(fleet) - (before[at] ?? Number.NaN)) * 1_000) / jobs;
  });
  for (const { queue } of both) await queue.pause();
  const [withIt = Number.NaN, without = Number.NaN] = usPerJob;
  return { with: withIt, without };
}

async function run(queue: Queue, redis: TestRedis, kind: string, jobs: number): Promise<void> {
  await add(queue, kind, Math.round(jobs));
  await drained(redis, queue);
}

async function add(queue: Queue, kind: string, jobs: number): Promise<void> {
  await queue.addBulk(Array.from({ length: jobs }, () => ({ name: kind, data: { kind } })));
}

async function drained(redis: TestRedis, queue: Queue): Promise<void> {
  await waitFor('no job is left', async () => (await left(redis, queue)) === 0, { everyMs: POLL_MS });
}

function left(redis: TestRedis, queue: Queue): Promise<number> {
  return jobsLeft({ queues: [queue], redis });
}

function signal({ masterPid, pids }: Fleet, name: NodeJS.Signals): void {
  for (const pid of masterPid === null ? pids : [masterPid, ...pids]) process.kill(pid, name);
}

function rssMb({ pids }: Fleet): number {
  const [pid = 0] = pids;
  const [, kilobytes = 'NaN'] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return (Number(kilobytes) * 1_024) / 1e6;
}

/** Finer than `cpuMs` of usage.ts: a turn, and all the more an idle child, uses few ticks of the kernel's. */
function threadsCpuMs({ pids }: Fleet): number {
  const [pid = 0] = pids;
  const perThread = readdirSync(`/proc/${pid}/task`).map((tid) => {
    const [ns = '0'] = readFileSync(`/proc/${pid}/task/${tid}/schedstat`, 'utf8').split(' ');
    return Number(ns) / 1e6;
  });
  return perThread.reduce((sum, ms) => sum + ms, 0);
}

/** From the moment at which the block is as long as the threshold to the dump's entry in Redis, by one clock. */
async function measureDumps(redis: TestRedis): Promise<Stored[]> {
  await redis.client.flushall();
  const fleet: Fleet & { swarm: Swarm } = await startSwarm(
    {
      app: 'watched.mjs',
      count: 1,
      env: {
        QUEUE: 'blocks',
        QUEUE_REDIS_PORT: String(redis.port),
        SWARM_STUCK_AFTER: `${THRESHOLD_MS}ms`,
        SWARM_STUCK_KILL_AFTER: 'off',
      },
    },
    redis.url,
  );
  const queue = new Queue('blocks', { connection: { host: '127.0.0.1', port: redis.port } });
  try {
    const stored: Stored[] = [];
    for (let block = 1; block <= BLOCKS; block += 1) {
      progress(`block ${block} of ${BLOCKS}`);
      // a block that lasts has more than one, and the first is what is asked for
      const [[before = '0'] = []] = await redis.client.xrevrange(DUMPS, '+', '-', 'COUNT', 1);
      await queue.add('block', { kind: 'block', cpuMs: BLOCK_CPU_MS });
      const [id, [, text = '{}']] = await waitFor('a dump is stored', async () => {
        const [first] = await redis.client.xrange(DUMPS, `(${before}`, '+', 'COUNT', 1);
        return first;
      });
      const starts = fleet.swarm.lines.filter(({ message }) => message.startsWith('blocks '));
      const startedAtMs = Number(starts.at(-1)?.message.split(' ')[1]);
      const { blockedMs } = JSON.parse(text) as { blockedMs: number };
      const storedAtMs = Number.parseInt(id, 10);
      const decided = fleet.swarm.all('stuck').at(-1)?.time ?? '';
      const decisionMs = storedAtMs - Date.parse(decided);
      stored.push({
        thresholdMs: decisionMs + blockedMs - THRESHOLD_MS,
        clockMs: storedAtMs - startedAtMs - THRESHOLD_MS,
        decisionMs,
      });
      await drained(redis, queue);
    }
    return stored;
  } finally {
    await fleet.close();
    await queue.close();
  }
}

function ratios({ with: one, without: other }: Record<Side, number[]>): number[] {
  return one.map((value, at) => value / (other[at] ?? Number.NaN));
}

function costRow(kind: string, sides: Record<Side, number[]>): string[] {
  const all = ratios(sides);
  return [
    kind,
    ...[median(sides.with), median(sides.without), median(all), ...medianInterval(all)].map(figure),
  ];
}

function storedRow(title: string, values: readonly number[]): string[] {
  const figures = [median(values), percentile(values, 0.95), Math.max(...values)];
  return [title, String(values.length), ...figures.map(figure)];
}

function costGoal(kind: string, sides: Record<Side, number[]>): Goal {
  const all = ratios(sides);
  return {
    what: `${kind}: CPU a job, with ÷ without, median of ${all.length} pairs`,
    value: median(all),
    interval: medianInterval(all),
    atMost: GOAL_RATIO,
  };
}

const redis = await startRedis();
try {
  const measured: Measured = {
    usPerJob: Object.fromEntries(WORKLOADS.map(({ kind }) => [kind, { with: [], without: [] }])),
    rssMb: { with: [], without: [] },
    idlePercent: { with: [], without: [] },
  };
  for (let round = 1; round <= ROUNDS; round += 1) {
    progress(`round ${round} of ${ROUNDS}`);
    await measureRound(redis, measured);
  }
  const stored = await measureDumps(redis);
  const thresholdMs = stored.map((each) => each.thresholdMs);
  const clockMs = stored.map((each) => each.clockMs);
  const decisionMs = stored.map((each) => each.decisionMs);
  const addedMb = median(measured.rssMb.with) - median(measured.rssMb.without);
  const cost: Table = {
    title: 'CPU µs a job in a child, with and without a watchdog',
    columns: ['jobs', 'with', 'without', 'ratio', 'from', 'to'],
    rows: Object.entries(measured.usPerJob).map(([kind, sides]) => costRow(kind, sides)),
  };
  const dumps: Table = {
    title: 'a dump of for (;;) is in Redis, ms',
    columns: ['', 'blocks', 'median', 'p95', 'max'],
    rows: [
      storedRow('since the threshold', thresholdMs),
      storedRow('since the threshold, by the clock', clockMs),
      storedRow('since the master asked for it', decisionMs),
    ],
  };
  print({
    tables: [cost, dumps],
    goals: [
      ...Object.entries(measured.usPerJob).map(([kind, sides]) => costGoal(kind, sides)),
      {
        what: 'CPU of an idle child, with − without',
        value: median(measured.idlePercent.with) - median(measured.idlePercent.without),
        atMost: GOAL_IDLE_PERCENT,
        unit: '%',
      },
      { what: 'RSS of an idle child, with − without', value: addedMb, atMost: GOAL_RSS_MB, unit: 'MB' },
      {
        what: 'threshold → dump in Redis, median',
        value: median(thresholdMs),
        atMost: GOAL_STORED_MS,
        unit: 'ms',
      },
    ],
    notes: [],
    data: { ...measured, stored },
  });
} finally {
  await redis.close();
}
