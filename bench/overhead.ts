/**
 * What supervision costs jobs: the same unmodified program in two processes, under `swarm` and without, on
 * one Redis. Each round starts both afresh and warms them up; then they take turns of a fraction of a second, each measured
 * from the resume of a filled queue to the last completion, while the other one is stopped (SIGSTOP) and
 * costs nothing. Rejected: a whole round of one, then of the other. On a machine that others use too, two
 * such rounds differ by more than what is looked for; two turns next to each other differ less.
 *
 * Jobs a second depend on what else the machine does; CPU time a job less. Both are shown.
 */
import { cpus } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { Queue } from 'bullmq';
import { startRedis, type TestRedis } from '../../test/dist/support/redis.js';
import { median, medianInterval } from './support/figures.js';
import { type Fleet, startNode, startSwarm } from './support/fleet.js';
import { figure, type Goal, print, progress, type Table } from './support/report.js';
import { cpuMs, machineCpuMs } from './support/usage.js';

const ROUNDS = 5;
/** Neither always follows the other, nor comes first more often. */
const TURNS = ['swarm', 'node', 'node', 'swarm'] as const;
/** A round is so many times these turns for each kind of job. */
const REPEATED = 3;
const TURNS_EACH = (REPEATED * TURNS.length) / 2;
/** Each, before a round is measured. V8 needs about as many jobs to have compiled what is worth it. */
const WARM_UP_JOBS = 12_000;
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
  { name: 'no-op jobs', jobMs: 0, jobsATurn: 1_500 },
  { name: '5 ms jobs', jobMs: 5, jobsATurn: 500 },
];

interface Turn {
  jobs: number;
  ms: number;
  /** Of the processes that run jobs. */
  cpuMs: number;
  masterCpuMs: number;
  /** Of all that runs on this machine beside the benchmark. */
  othersCpuMs: number;
}

/** The n-th turns of both were next to each other. */
type Round = Record<Kind, Turn[]>;

interface Side {
  fleet: Fleet;
  queue: Queue;
}

/** One round of every workload. */
async function measureRounds(redis: TestRedis): Promise<Round[]> {
  await redis.client.flushall();
  const sides = {} as Record<Kind, Side>;
  try {
    for (const kind of ['swarm', 'node'] as const) sides[kind] = await startSide(kind, redis);
    await Promise.all(Object.values(sides).map((side) => warmUp(side, redis)));
    const rounds: Round[] = [];
    for (const workload of WORKLOADS) {
      const round: Round = { swarm: [], node: [] };
      for (let turn = 0; turn < REPEATED * TURNS.length; turn += 1) {
        const kind = TURNS[turn % TURNS.length] as Kind;
        round[kind].push(await measureTurn(sides[kind], workload, redis));
      }
      rounds.push(round);
    }
    return rounds;
  } finally {
    for (const { fleet, queue } of Object.values(sides)) {
      await fleet.close();
      await queue.close();
    }
  }
}

async function startSide(kind: Kind, redis: TestRedis): Promise<Side> {
  const env = { QUEUE: kind, QUEUE_REDIS_PORT: String(redis.port) };
  const options = { app: 'timer.mjs', count: PROCESSES, env, nodeArguments: ['--expose-gc'] };
  const fleet: Fleet = kind === 'swarm' ? await startSwarm(options, redis.url) : await startNode(options);
  return { fleet, queue: new Queue(kind, { connection: { host: '127.0.0.1', port: redis.port } }) };
}

/** Leaves it stopped, its queue paused. */
async function warmUp({ fleet, queue }: Side, redis: TestRedis): Promise<void> {
  await addJobs(queue, WARM_UP_JOBS, 0);
  await drained(redis, queue);
  await queue.pause();
  signal(fleet, 'SIGSTOP');
}

async function measureTurn(
  { fleet, queue }: Side,
  { jobsATurn: jobs, jobMs }: Workload,
  redis: TestRedis,
): Promise<Turn> {
  await addJobs(queue, jobs, jobMs);
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

function spent({ pids, masterPid }: Fleet, redis: TestRedis): { atMs: number } & Omit<Turn, 'jobs' | 'ms'> {
  const masterPids = masterPid === null ? [] : [masterPid];
  const all = [...pids, ...masterPids, redis.pid, process.pid];
  const [childrenMs, masterMs, othersMs] = [cpuMs(pids), cpuMs(masterPids), machineCpuMs() - cpuMs(all)];
  return { cpuMs: childrenMs, masterCpuMs: masterMs, othersCpuMs: othersMs, atMs: performance.now() };
}

function signal({ masterPid, pids }: Fleet, name: NodeJS.Signals): void {
  for (const pid of masterPid === null ? pids : [masterPid, ...pids]) process.kill(pid, name);
}

async function addJobs(queue: Queue, count: number, ms: number): Promise<void> {
  for (let added = 0; added < count; added += ADD_AT_ONCE) {
    const size = Math.min(ADD_AT_ONCE, count - added);
    await queue.addBulk(Array.from({ length: size }, () => ({ name: 'job', data: { ms } })));
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

function jobsPerSecond(turns: readonly Turn[]): number {
  return (sum(turns, 'jobs') * 1_000) / sum(turns, 'ms');
}

function sum(turns: readonly Turn[], field: keyof Turn): number {
  return turns.reduce((total, turn) => total + turn[field], 0);
}

/** Jobs a second under swarm by those without, of each pair of turns next to each other. */
function pairRatios({ swarm, node }: Round): number[] {
  return swarm.flatMap((turn, at) => {
    const other = node[at];
    return other ? [jobsPerSecond([turn]) / jobsPerSecond([other])] : [];
  });
}

/** Of all CPUs of the machine. */
function othersPercent({ swarm, node }: Round): number {
  const turns = [...swarm, ...node];
  return (100 * Math.max(0, sum(turns, 'othersCpuMs'))) / (sum(turns, 'ms') * cpus().length);
}

function tableOf({ name, jobsATurn }: Workload, rounds: readonly Round[]): Table {
  const row = (title: string, of: (round: Round) => number): string[] => {
    const values = rounds.map(of);
    return [title, ...[...values, median(values), Math.min(...values), Math.max(...values)].map(figure)];
  };
  const usPerJob = (turns: readonly Turn[], field: keyof Turn): number =>
    (sum(turns, field) * 1_000) / sum(turns, 'jobs');
  const jobs = jobsATurn.toLocaleString('en-US');
  return {
    title: `${name}: ${PROCESSES} processes, concurrency 10, in a round ${TURNS_EACH} turns each of ${jobs} jobs`,
    columns: ['', ...rounds.map((_, at) => `round ${at + 1}`), 'median', 'min', 'max'],
    rows: [
      row(`jobs/s, swarm --count ${PROCESSES}`, ({ swarm }) => jobsPerSecond(swarm)),
      row(`jobs/s, ${PROCESSES} × node`, ({ node }) => jobsPerSecond(node)),
      row('ratio, median of turns', (round) => median(pairRatios(round))),
      row('CPU µs/job, swarm children', ({ swarm }) => usPerJob(swarm, 'cpuMs')),
      row('CPU µs/job, node processes', ({ node }) => usPerJob(node, 'cpuMs')),
      row('CPU µs/job, master', ({ swarm }) => usPerJob(swarm, 'masterCpuMs')),
      row('CPU % of other programs', othersPercent),
    ],
  };
}

function goalOf({ name }: Workload, rounds: readonly Round[]): Goal {
  const ratios = rounds.flatMap(pairRatios);
  return {
    what: `${name}: jobs/s, swarm ÷ node, median of ${ratios.length} pairs of turns`,
    value: median(ratios),
    interval: medianInterval(ratios),
    atLeast: GOAL_RATIO,
  };
}

const redis = await startRedis();
try {
  const results = WORKLOADS.map((workload) => ({ workload, rounds: [] as Round[] }));
  for (let round = 1; round <= ROUNDS; round += 1) {
    progress(`round ${round} of ${ROUNDS}`);
    for (const [at, measured] of (await measureRounds(redis)).entries()) results[at]?.rounds.push(measured);
  }
  const busyPercent = Math.round(median(results.flatMap(({ rounds }) => rounds.map(othersPercent))));
  print({
    tables: results.map(({ workload, rounds }) => tableOf(workload, rounds)),
    goals: results.map(({ workload, rounds }) => goalOf(workload, rounds)),
    notes:
      busyPercent > QUIET_PERCENT
        ? [`other programs took ${busyPercent} % of this machine's CPU time meanwhile`]
        : [],
    data: { results },
  });
} finally {
  await redis.close();
}
