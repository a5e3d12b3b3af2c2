/**
 * What supervision costs jobs: the same unmodified program in two processes, under `swarm` and without, on
 * one Redis. Each round starts both afresh and warms them up; then they take turns of a second or so, each
 * measured from the resume of a filled queue to the last completion, while the other one is stopped
 * (SIGSTOP) and costs nothing. Rejected: a whole round of one, then of the other. On a machine that others
 * use too, the speed of two such rounds differs by more than what is looked for.
 *
 * Jobs a second depend on what else the machine does; CPU time a job less. Both are shown.
 */
import { Queue } from 'bullmq';
import { setTimeout as delay } from 'node:timers/promises';
import { startRedis, type TestRedis } from '../../test/dist/support/redis.js';
import { median } from './support/figures.js';
import { type Fleet, startNode, startSwarm } from './support/fleet.js';
import { figure, type Goal, print, progress, type Table } from './support/report.js';
import { cpuMs } from './support/usage.js';

const ROUNDS = 5;
/** Neither always follows the other, nor comes first more often. */
const TURNS = ['swarm', 'node', 'node', 'swarm', 'swarm', 'node'] as const;
const PROCESSES = 2;
const ADD_AT_ONCE = 2_000;
const POLL_MS = 2;
const MAX_SILENCE_MS = 60_000;
/** For what a stopped process has to catch up with when it goes on. */
const SETTLE_MS = 50;
const GOAL_RATIO = 0.97;

type Kind = (typeof TURNS)[number];

interface Workload {
  name: string;
  jobMs: number;
  warmUpJobs: number;
  jobsATurn: number;
}

const WORKLOADS: readonly Workload[] = [
  { name: 'no-op jobs', jobMs: 0, warmUpJobs: 2_000, jobsATurn: 4_000 },
  { name: '5 ms jobs', jobMs: 5, warmUpJobs: 500, jobsATurn: 1_500 },
];

interface Cost {
  jobs: number;
  ms: number;
  /** Of the processes that run jobs. */
  cpuMs: number;
  masterCpuMs: number;
}

type Round = Record<Kind, Cost>;

interface Side {
  fleet: Fleet;
  queue: Queue;
}

async function measureRound(workload: Workload, redis: TestRedis): Promise<Round> {
  await redis.client.flushall();
  const sides = {} as Record<Kind, Side>;
  try {
    for (const kind of ['swarm', 'node'] as const) sides[kind] = await startSide(kind, workload, redis);
    const round: Round = { swarm: noCost(), node: noCost() };
    for (const kind of TURNS) add(round[kind], await measureTurn(sides[kind], workload, redis));
    return round;
  } finally {
    for (const { fleet, queue } of Object.values(sides)) {
      await fleet.close();
      await queue.close();
    }
  }
}

/** Warmed up, and stopped. */
async function startSide(kind: Kind, { jobMs, warmUpJobs }: Workload, redis: TestRedis): Promise<Side> {
  const env = { QUEUE: kind, QUEUE_REDIS_PORT: String(redis.port), JOB_MS: String(jobMs) };
  const options = { app: 'timer.mjs', count: PROCESSES, env };
  const fleet: Fleet = kind === 'swarm' ? await startSwarm(options, redis.url) : await startNode(options);
  const queue = new Queue(kind, { connection: { host: '127.0.0.1', port: redis.port } });
  await addJobs(queue, warmUpJobs);
  await drained(redis, queue);
  await queue.pause();
  signal(fleet, 'SIGSTOP');
  return { fleet, queue };
}

async function measureTurn({ fleet, queue }: Side, { jobsATurn: jobs }: Workload, redis: TestRedis): Promise<Cost> {
  await addJobs(queue, jobs);
  signal(fleet, 'SIGCONT');
  await delay(SETTLE_MS);
  const { pids, masterPid } = fleet;
  const masterPids = masterPid === null ? [] : [masterPid];
  const before = { cpuMs: cpuMs(pids), masterCpuMs: cpuMs(masterPids), atMs: performance.now() };
  await queue.resume();
  const doneAtMs = await drained(redis, queue);
  const cost = {
    jobs,
    ms: doneAtMs - before.atMs,
    cpuMs: cpuMs(pids) - before.cpuMs,
    masterCpuMs: cpuMs(masterPids) - before.masterCpuMs,
  };
  await queue.pause();
  signal(fleet, 'SIGSTOP');
  return cost;
}

function signal({ masterPid, pids }: Fleet, name: NodeJS.Signals): void {
  for (const pid of masterPid === null ? pids : [masterPid, ...pids]) process.kill(pid, name);
}

function noCost(): Cost {
  return { jobs: 0, ms: 0, cpuMs: 0, masterCpuMs: 0 };
}

function add(sum: Cost, cost: Cost): void {
  sum.jobs += cost.jobs;
  sum.ms += cost.ms;
  sum.cpuMs += cost.cpuMs;
  sum.masterCpuMs += cost.masterCpuMs;
}

async function addJobs(queue: Queue, count: number): Promise<void> {
  for (let added = 0; added < count; added += ADD_AT_ONCE) {
    const size = Math.min(ADD_AT_ONCE, count - added);
    await queue.addBulk(Array.from({ length: size }, () => ({ name: 'job', data: {} })));
  }
}

/** Resolves to when it was first seen that no job is left: one is in `active` until it is completed. */
async function drained({ client }: TestRedis, queue: Queue): Promise<number> {
  let [leftBefore, movedAtMs] = [Number.POSITIVE_INFINITY, performance.now()];
  for (;;) {
    const [waiting, active] = await Promise.all([client.llen(queue.toKey('wait')), client.llen(queue.toKey('active'))]);
    const nowMs = performance.now();
    const left = waiting + active;
    if (left === 0) return nowMs;
    if (left !== leftBefore) [leftBefore, movedAtMs] = [left, nowMs];
    if (nowMs - movedAtMs > MAX_SILENCE_MS) throw new Error(`${left} jobs are left, and none has ended for ${MAX_SILENCE_MS} ms`);
    await delay(POLL_MS);
  }
}

const speed = ({ jobs, ms }: Cost): number => (jobs * 1_000) / ms;
const cpuUsPerJob = ({ jobs, cpuMs }: Cost): number => (cpuMs * 1_000) / jobs;
const masterCpuUsPerJob = ({ jobs, masterCpuMs }: Cost): number => (masterCpuMs * 1_000) / jobs;

function tableOf({ name, jobsATurn }: Workload, rounds: readonly Round[]): Table {
  const row = (title: string, of: (round: Round) => number): string[] => {
    const values = rounds.map(of);
    return [title, ...[...values, median(values), Math.min(...values), Math.max(...values)].map(figure)];
  };
  const jobs = (jobsATurn * TURNS.length) / 2;
  return {
    title: `${name}: ${PROCESSES} processes, concurrency 10, ${jobs.toLocaleString('en-US')} jobs each in a round`,
    columns: ['', ...rounds.map((_, at) => `round ${at + 1}`), 'median', 'min', 'max'],
    rows: [
      row(`jobs/s, swarm --count ${PROCESSES}`, ({ swarm }) => speed(swarm)),
      row(`jobs/s, ${PROCESSES} × node`, ({ node }) => speed(node)),
      row('ratio', speedRatio),
      row('CPU µs/job, swarm children', ({ swarm }) => cpuUsPerJob(swarm)),
      row('CPU µs/job, node processes', ({ node }) => cpuUsPerJob(node)),
      row('CPU µs/job, master', ({ swarm }) => masterCpuUsPerJob(swarm)),
    ],
  };
}

function speedRatio({ swarm, node }: Round): number {
  return speed(swarm) / speed(node);
}

const redis = await startRedis();
try {
  const tables: Table[] = [];
  const goals: Goal[] = [];
  const data: Record<string, Round[]> = {};
  for (const workload of WORKLOADS) {
    const { name } = workload;
    const rounds: Round[] = [];
    data[name] = rounds;
    while (rounds.length < ROUNDS) {
      progress(`${name}: round ${rounds.length + 1} of ${ROUNDS}`);
      rounds.push(await measureRound(workload, redis));
    }
    tables.push(tableOf(workload, rounds));
    const ratio = median(rounds.map(speedRatio));
    goals.push({ what: `${name}: jobs/s, swarm ÷ node, median of rounds`, value: ratio, atLeast: GOAL_RATIO });
  }
  const notes = ['how far min and max of the ratio lie apart is the noise of this machine'];
  print({ tables, goals, notes, data });
} finally {
  await redis.close();
}
