/**
 * What supervision costs jobs: the same unmodified program in two processes, under `swarm` and without, on
 * one Redis. Each round starts both afresh; then they take turns of half a second or less, each measured
 * from the resume of a filled queue to the last completion, while the other one is stopped (SIGSTOP) and
 * costs nothing. Rejected: a whole round of one, then of the other. On a machine that others
 * use too, the speed of two such rounds differs by more than what is looked for.
 *
 * Jobs a second depend on what else the machine does; CPU time a job less. Both are shown.
 */

import { cpus } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { Queue } from 'bullmq';
import { startRedis, type TestRedis } from '../../test/dist/support/redis.js';
import { median } from './support/figures.js';
import { type Fleet, startNode, startSwarm } from './support/fleet.js';
import { figure, type Goal, print, progress, type Table } from './support/report.js';
import { cpuMs, machineCpuMs } from './support/usage.js';

const ROUNDS = 5;
/** Neither always follows the other, nor comes first more often. */
const TURNS = ['swarm', 'node', 'node', 'swarm'] as const;
/** A round is so many times these turns; the first ones are not counted, V8 still compiles. */
const WARM_UP = 2;
const MEASURED = 3;
const TURNS_EACH = (MEASURED * TURNS.length) / 2;
const PROCESSES = 2;
const ADD_AT_ONCE = 2_000;
const POLL_MS = 2;
const MAX_SILENCE_MS = 60_000;
/** For what a stopped process has to catch up with when it goes on. */
const SETTLE_MS = 50;
const GOAL_RATIO = 0.97;
/** A machine that has less to do beside is called quiet. */
const QUIET_PERCENT = 5;

type Kind = (typeof TURNS)[number];

interface Workload {
  name: string;
  jobMs: number;
  jobsATurn: number;
}

const WORKLOADS: readonly Workload[] = [
  { name: 'no-op jobs', jobMs: 0, jobsATurn: 2_000 },
  { name: '5 ms jobs', jobMs: 5, jobsATurn: 750 },
];

interface Cost {
  jobs: number;
  ms: number;
  /** Of the processes that run jobs. */
  cpuMs: number;
  masterCpuMs: number;
  /** Of all that runs on this machine beside the benchmark. */
  othersCpuMs: number;
}

interface Sum extends Cost {
  fastestTurn: number;
}

type Round = Record<Kind, Sum>;

interface Side {
  fleet: Fleet;
  queue: Queue;
}

async function measureRound(workload: Workload, redis: TestRedis): Promise<Round> {
  await redis.client.flushall();
  const sides = {} as Record<Kind, Side>;
  try {
    for (const kind of ['swarm', 'node'] as const) sides[kind] = await startSide(kind, workload, redis);
    const round: Round = { swarm: emptySum(), node: emptySum() };
    for (let turn = -WARM_UP; turn < MEASURED; turn += 1) {
      for (const kind of TURNS) {
        const cost = await measureTurn(sides[kind], workload, redis);
        if (turn >= 0) add(round[kind], cost);
      }
    }
    return round;
  } finally {
    for (const { fleet, queue } of Object.values(sides)) {
      await fleet.close();
      await queue.close();
    }
  }
}

/** Ready, and stopped. */
async function startSide(kind: Kind, { jobMs }: Workload, redis: TestRedis): Promise<Side> {
  const queue = new Queue(kind, { connection: { host: '127.0.0.1', port: redis.port } });
  await queue.pause();
  const env = { QUEUE: kind, QUEUE_REDIS_PORT: String(redis.port), JOB_MS: String(jobMs) };
  const options = { app: 'timer.mjs', count: PROCESSES, env };
  const fleet: Fleet = kind === 'swarm' ? await startSwarm(options, redis.url) : await startNode(options);
  signal(fleet, 'SIGSTOP');
  return { fleet, queue };
}

async function measureTurn(
  { fleet, queue }: Side,
  { jobsATurn: jobs }: Workload,
  redis: TestRedis,
): Promise<Cost> {
  await addJobs(queue, jobs);
  signal(fleet, 'SIGCONT');
  await delay(SETTLE_MS);
  const before = spent(fleet, redis);
  await queue.resume();
  const doneAtMs = await drained(redis, queue);
  const after = spent(fleet, redis);
  await queue.pause();
  signal(fleet, 'SIGSTOP');
  return {
    jobs,
    ms: doneAtMs - before.atMs,
    cpuMs: after.cpuMs - before.cpuMs,
    masterCpuMs: after.masterCpuMs - before.masterCpuMs,
    othersCpuMs: after.othersCpuMs - before.othersCpuMs,
  };
}

function spent({ pids, masterPid }: Fleet, redis: TestRedis): { atMs: number } & Omit<Cost, 'jobs' | 'ms'> {
  const masterPids = masterPid === null ? [] : [masterPid];
  const all = [...pids, ...masterPids, redis.pid, process.pid];
  const [childrenMs, masterMs, othersMs] = [cpuMs(pids), cpuMs(masterPids), machineCpuMs() - cpuMs(all)];
  return { cpuMs: childrenMs, masterCpuMs: masterMs, othersCpuMs: othersMs, atMs: performance.now() };
}

function signal({ masterPid, pids }: Fleet, name: NodeJS.Signals): void {
  for (const pid of masterPid === null ? pids : [masterPid, ...pids]) process.kill(pid, name);
}

function emptySum(): Sum {
  return { jobs: 0, ms: 0, cpuMs: 0, masterCpuMs: 0, othersCpuMs: 0, fastestTurn: 0 };
}

function add(sum: Sum, cost: Cost): void {
  sum.jobs += cost.jobs;
  sum.ms += cost.ms;
  sum.cpuMs += cost.cpuMs;
  sum.masterCpuMs += cost.masterCpuMs;
  sum.othersCpuMs += cost.othersCpuMs;
  sum.fastestTurn = Math.max(sum.fastestTurn, speed(cost));
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
    const [waiting, active] = await Promise.all([
      client.llen(queue.toKey('wait')),
      client.llen(queue.toKey('active')),
    ]);
    const nowMs = performance.now();
    const left = waiting + active;
    if (left === 0) return nowMs;
    if (left !== leftBefore) [leftBefore, movedAtMs] = [left, nowMs];
    if (nowMs - movedAtMs > MAX_SILENCE_MS)
      throw new Error(`${left} jobs are left, and none has ended for ${MAX_SILENCE_MS} ms`);
    await delay(POLL_MS);
  }
}

function speed({ jobs, ms }: Cost): number {
  return (jobs * 1_000) / ms;
}

function speedRatio({ swarm, node }: Round): number {
  return speed(swarm) / speed(node);
}

function tableOf({ name, jobsATurn }: Workload, rounds: readonly Round[]): Table {
  const row = (title: string, of: (round: Round) => number): string[] => {
    const values = rounds.map(of);
    return [title, ...[...values, median(values), Math.min(...values), Math.max(...values)].map(figure)];
  };
  const jobs = (jobsATurn * TURNS_EACH).toLocaleString('en-US');
  return {
    title: `${name}: ${PROCESSES} processes, concurrency 10, ${jobs} jobs each in a round, in ${TURNS_EACH} turns`,
    columns: ['', ...rounds.map((_, at) => `round ${at + 1}`), 'median', 'min', 'max'],
    rows: [
      row(`jobs/s, swarm --count ${PROCESSES}`, ({ swarm }) => speed(swarm)),
      row(`jobs/s, ${PROCESSES} × node`, ({ node }) => speed(node)),
      row('ratio', speedRatio),
      row('jobs/s in the fastest turn, swarm', ({ swarm }) => swarm.fastestTurn),
      row('jobs/s in the fastest turn, node', ({ node }) => node.fastestTurn),
      row('CPU µs/job, swarm children', ({ swarm }) => (swarm.cpuMs * 1_000) / swarm.jobs),
      row('CPU µs/job, node processes', ({ node }) => (node.cpuMs * 1_000) / node.jobs),
      row('CPU µs/job, master', ({ swarm }) => (swarm.masterCpuMs * 1_000) / swarm.jobs),
      row('CPU % of other programs', othersPercent),
    ],
  };
}

/** Of all CPUs of the machine. */
function othersPercent({ swarm, node }: Round): number {
  const capacityMs = (swarm.ms + node.ms) * cpus().length;
  return (100 * Math.max(0, swarm.othersCpuMs + node.othersCpuMs)) / capacityMs;
}

const redis = await startRedis();
try {
  const tables: Table[] = [];
  const goals: Goal[] = [];
  const notes: string[] = [];
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
    goals.push({
      what: `${name}: jobs/s, swarm ÷ node, median of rounds`,
      value: ratio,
      atLeast: GOAL_RATIO,
    });
    const busyPercent = median(rounds.map(othersPercent));
    if (busyPercent > QUIET_PERCENT) {
      notes.push(
        `${name}: other programs took ${Math.round(busyPercent)} % of this machine; differences of a few percent are noise`,
      );
    }
  }
  print({ tables, goals, notes, data });
} finally {
  await redis.close();
}
