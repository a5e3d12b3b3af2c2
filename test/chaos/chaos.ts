/**
 * `npm run chaos -- --minutes 2 --seed S [--app]`: four children of an unmodified program, or of a swarm app, three queues, four kinds of job, and a fault every
 * second or so: kills, stops, loops, full heaps, Redis restarts. At the end every job must be accounted
 * for. The seed decides which faults come when, and what the jobs are; the machine decides the rest.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Queue } from 'bullmq';
import { openQueue } from '../support/jobs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { Swarm } from '../support/swarm.js';
import { waitFor } from '../support/wait.js';
import { judge, parseLedger, runsOf, type Verdict } from './ledger.js';

const QUEUES = ['chaos-a', 'chaos-b', 'chaos-c'];
const CHILDREN = 4;
const SETTLE_MS = 120_000;
const FAULTS_A_REDIS_RESTART = 10;
const JOBS_A_FULL_HEAP = 60;
/** Soon: on a slow machine a storm may see few jobs. */
const FIRST_FULL_HEAP = 20;
/** Four children are never out of work with so many. */
const MAX_OPEN = 60;
/** A fault explains what begins or ends so long around it: releases are swept for 5 s, locks last 30 s. */
const AFTERMATH_MS = 40_000;
/** As many as an unmodified program has of its three Workers. */
const APP_PLACES = 9;

/** What happened to whom; pid 0: to Redis, and so to everybody. */
interface Fault {
  kind: string;
  pid: number;
  atMs: number;
}

export interface ChaosReport {
  seed: string;
  added: number;
  completed: number;
  failed: number;
  /** Failed for a reason that is not the job's own. */
  failedOddly: string[];
  faults: Record<string, number>;
  /** Children that died, by cause. */
  deaths: Record<string, number>;
  verdict: Verdict;
  lost: string[];
  ok: boolean;
}

/** A small generator with a seed (mulberry32), so that a run can be asked for again. */
export function randomFrom(seed: string): () => number {
  let state = [...seed].reduce(
    (hash, char) => Math.imul(hash ^ char.charCodeAt(0), 2_654_435_761),
    1_779_033_703,
  );
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export async function chaos(options: {
  durationMs: number;
  seed: string;
  say: (text: string) => void;
  /** Of a swarm app; default: of an unmodified program. */
  isApp?: boolean;
}): Promise<ChaosReport> {
  const random = randomFrom(options.seed);
  const directory = await mkdtemp(join(tmpdir(), 'swarm-chaos-'));
  const redis = await startRedis(['--appendonly', 'yes', '--appendfsync', 'always']);
  const queues = QUEUES.map((name) => openQueue(redis, name));
  for (const queue of queues) queue.on('error', () => {});
  const ledger = join(directory, 'ledger');
  const swarm = new Swarm(options.isApp ? 'chaos-app.mjs' : 'chaos.mjs', {
    args: [
      ...['--count', String(CHILDREN), '--redis', redis.url, '--node-arg', '--max-old-space-size=96'],
      ...(options.isApp ? ['-c', String(APP_PLACES)] : []),
    ],
    env: { QUEUE_REDIS_PORT: String(redis.port), CHAOS_LEDGER: ledger, CHAOS_QUEUES: QUEUES.join(',') },
  });
  try {
    await swarm.ready(CHILDREN);
    const added: string[] = [];
    const faults: Fault[] = [];
    const endMs = performance.now() + options.durationMs;
    const feeding = feed(queues, random, endMs, added);
    for (let n = 1; performance.now() < endMs; n += 1) {
      await delay(300 + random() * 1_200);
      const isRedisDue = n % FAULTS_A_REDIS_RESTART === 0;
      await strike(isRedisDue ? null : swarm, redis, random, faults, options.say);
    }
    await feeding;
    await killLoops(swarm, queues, faults);
    await swarm.ready(CHILDREN, { timeoutMs: SETTLE_MS });
    return await account({ ...options, queues, added, faults, swarm, ledger });
  } finally {
    await swarm.close();
    await Promise.all(queues.map((queue) => queue.close()));
    await redis.close();
    await rm(directory, { recursive: true, force: true });
  }
}

/** Jobs that come in bursts, of four kinds; a few loop for ever at their first run, or fill the heap. */
async function feed(
  queues: readonly Queue[],
  random: () => number,
  endMs: number,
  added: string[],
): Promise<void> {
  for (let n = 0; performance.now() < endMs; n++) {
    const queue = queues[n % queues.length] as Queue;
    const roll = random();
    const kind = roll < 0.55 ? 'short' : roll < 0.75 ? 'busy' : roll < 0.9 ? 'hungry' : 'failing';
    const data = {
      ms: Math.round(kind === 'busy' ? random() * 60 : random() * 800),
      mb: Math.round(random() * 40),
      loops: random() < 0.01,
      devours: n % JOBS_A_FULL_HEAP === FIRST_FULL_HEAP,
    };
    // Redis may be away: the client waits for it
    const job = await queue.add(kind, data, { attempts: 1, priority: n % 7 === 0 ? 5 : 0 });
    added.push(`${queue.name}/${job.id}`);
    if (n % 40 !== 39) continue;
    await delay(250 + random() * 750);
    // what is behind at the end of the storm would be worked off in calm weather, a loop and a backoff after the other
    while (performance.now() < endMs && (await countOpen(queues)) > MAX_OPEN) await delay(250);
  }
}

/** Jobs that have not ended. */
async function countOpen(queues: readonly Queue[]): Promise<number> {
  const counts = await Promise.all(
    queues.map((queue) => queue.getJobCounts('active', 'waiting', 'prioritized')),
  );
  return counts.flatMap((count) => Object.values(count)).reduce((sum, count) => sum + count, 0);
}

/** @param swarm null: it is Redis's turn */
async function strike(
  swarm: Swarm | null,
  redis: TestRedis,
  random: () => number,
  faults: Fault[],
  say: (text: string) => void,
): Promise<void> {
  const pids = [...(swarm?.children.values() ?? [])];
  const pid = pids[Math.floor(random() * pids.length)];
  const roll = random();
  const strikeAt = (kind: string, who: number): void => {
    faults.push({ kind, pid: who, atMs: Date.now() });
    say(`${kind}${who > 0 ? ` ${who}` : ''}`);
  };
  if (swarm === null) {
    strikeAt('redis restart', 0);
    await redis.stop(random() < 0.5 ? 'SIGKILL' : 'SIGTERM');
    await delay(200 + random() * 2_000);
    await redis.start();
    faults.push({ kind: 'redis back', pid: 0, atMs: Date.now() });
    return;
  }
  if (pid === undefined) return;
  if (roll > 0.75) {
    strikeAt('stop and continue', pid);
    signal(pid, 'SIGSTOP');
    await delay(500 + random() * 3_000);
    signal(pid, 'SIGCONT');
    faults.push({ kind: 'continued', pid, atMs: Date.now() });
    return;
  }
  const kind = roll > 0.65 ? 'SIGSEGV' : roll > 0.55 ? 'SIGABRT' : 'SIGKILL';
  strikeAt(kind, pid);
  signal(pid, kind);
}

/** Loops do not end by themselves: whoever is still in one when the storm is over is killed. */
async function killLoops(swarm: Swarm, queues: readonly Queue[], faults: Fault[]): Promise<void> {
  try {
    await allEnd(swarm, queues, faults);
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${await openJobs(queues)}\n${swarm.tail()}`);
  }
}

async function allEnd(swarm: Swarm, queues: readonly Queue[], faults: Fault[]): Promise<void> {
  await waitFor(
    'all jobs end',
    async () => {
      if ((await countOpen(queues)) === 0) return true;
      await Promise.all([...swarm.children.values()].map((pid) => killLoop(pid, faults)));
      return false;
    },
    { timeoutMs: SETTLE_MS, everyMs: 250 },
  );
}

/** What a storm that does not calm down has left, a line a queue. */
async function openJobs(queues: readonly Queue[]): Promise<string> {
  const lines = queues.map(async (queue) => {
    const counts = await queue.getJobCounts();
    const active = await queue.getActive();
    const named = active.slice(0, 8).map((job) => {
      return `${job.id} ${job.name} run ${job.attemptsStarted} since ${job.processedOn} by ${job.processedBy}`;
    });
    return [`${queue.name} ${JSON.stringify(counts)}`, ...named].join('\n  ');
  });
  return (await Promise.all(lines)).join('\n');
}

async function killLoop(pid: number, faults: Fault[]): Promise<void> {
  if (!(await isLooping(pid))) return;
  faults.push({ kind: 'loop killed', pid, atMs: Date.now() });
  signal(pid, 'SIGKILL');
}

/** Its main thread used the CPU all the time for a while. */
async function isLooping(pid: number): Promise<boolean> {
  const before = await cpuTicks(pid);
  await delay(600);
  const after = await cpuTicks(pid);
  return before !== null && after !== null && after - before > 15;
}

async function cpuTicks(pid: number): Promise<number | null> {
  try {
    const stat = await readFile(`/proc/${pid}/task/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return Number(fields[11]) + Number(fields[12]);
  } catch {
    return null;
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // it died before
  }
}

async function account(parts: {
  seed: string;
  queues: readonly Queue[];
  added: readonly string[];
  faults: readonly Fault[];
  swarm: Swarm;
  ledger: string;
}): Promise<ChaosReport> {
  const { queues, added, faults, swarm } = parts;
  const completed: string[] = [];
  const failed: string[] = [];
  const failedOddly: string[] = [];
  for (const queue of queues) {
    for (const job of await queue.getCompleted()) completed.push(`${queue.name}/${job.id}`);
    for (const job of await queue.getFailed()) {
      failed.push(`${queue.name}/${job.id}`);
      const isOwn = job.name === 'failing' && /as it should/.test(job.failedReason);
      const isQuarantined = /process (died|was)|quarantined/i.test(job.failedReason);
      if (!isOwn && !isQuarantined) failedOddly.push(`${queue.name}/${job.id}: ${job.failedReason}`);
    }
  }
  const known = new Set([...completed, ...failed]);
  const lost = added.filter((job) => !known.has(job));
  const exits = swarm.all('exited').filter(({ stream }) => stream === undefined);
  const deaths = new Map(exits.map(({ pid, time }) => [pid as number, Date.parse(time)]));
  const runs = runsOf(parseLedger(await readFile(parts.ledger, 'utf8')), deaths);
  const hits = [...faults, ...[...deaths].map(([pid, atMs]): Fault => ({ kind: 'death', pid, atMs }))];
  const verdict = judge(runs, completed, (pid, fromMs, toMs) => {
    return hits.some(
      (hit) =>
        (hit.pid === pid || hit.pid === 0) &&
        hit.atMs > fromMs - AFTERMATH_MS &&
        hit.atMs < toMs + AFTERMATH_MS,
    );
  });
  const kinds: Record<string, number> = {};
  for (const { kind } of faults) kinds[kind] = (kinds[kind] ?? 0) + 1;
  const causes: Record<string, number> = {};
  for (const { cause } of exits) causes[String(cause)] = (causes[String(cause)] ?? 0) + 1;
  const ok =
    lost.length === 0 &&
    failedOddly.length === 0 &&
    verdict.unfinished.length === 0 &&
    verdict.overlapping.length === 0 &&
    verdict.unexplained.length === 0;
  return {
    seed: parts.seed,
    added: added.length,
    completed: completed.length,
    failed: failed.length,
    failedOddly,
    faults: kinds,
    deaths: causes,
    verdict,
    lost,
    ok,
  };
}

export function table(report: ChaosReport): string {
  const { verdict } = report;
  const counts = (of: Record<string, number>): string =>
    Object.entries(of)
      .map(([what, count]) => `${what} ${count}`)
      .join(', ');
  const named = (jobs: readonly string[]): string =>
    jobs.length === 0 ? '0' : `${jobs.length}: ${jobs.slice(0, 8).join(', ')}`;
  return [
    ['seed', report.seed],
    ['faults', counts(report.faults)],
    ['children that died, by cause', counts(report.deaths)],
    ['jobs added', String(report.added)],
    ['runs of them', String(verdict.runs)],
    ['completed', String(report.completed)],
    ['failed by themselves, or quarantined', String(report.failed - report.failedOddly.length)],
    ['run to the end more than once', String(verdict.repeated.length)],
    ['  of these without a fault', named(verdict.unexplained)],
    ['two runs at one time', named(verdict.overlapping)],
    ['said to be done, and never run to the end', named(verdict.unfinished)],
    ['failed for another reason', named(report.failedOddly)],
    ['lost', named(report.lost)],
  ]
    .map(([what, figure]) => `${what?.padEnd(42)} ${figure}`)
    .join('\n');
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '2' },
      seed: { type: 'string' },
      app: { type: 'boolean', default: false },
    },
  });
  const minutes = Number(values.minutes);
  if (!(minutes > 0 && minutes <= 600))
    throw new Error(`--minutes takes a number from 0 to 600, got ${values.minutes}`);
  const seed = values.seed ?? randomBytes(4).toString('hex');
  console.log(`chaos for ${minutes} min, seed ${seed}`);
  const report = await chaos({
    durationMs: minutes * 60_000,
    seed,
    isApp: values.app,
    say: (text) => process.stdout.write(`  ${text}\n`),
  });
  console.log(`\n${table(report)}\n\n${report.ok ? 'every job is accounted for' : 'FAILED'}`);
  process.exitCode = report.ok ? 0 : 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
