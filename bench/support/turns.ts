/**
 * Processes that do the same jobs by turns of half a second, all others stopped meanwhile (SIGSTOP). So each has the
 * machine for itself, and what else happens to the machine – others on its host take half of it for seconds – happens
 * to all of them. Not shorter: what a process has sent before it is stopped Redis does for it outside of its turn,
 * which is more for whoever has more under way.
 *
 * The first part of a turn does not count. A process that was stopped makes up for it: every timer that was due meanwhile
 * fires, for nothing in one that has none, in one that is supervised for a heartbeat, a look at its memory, and more, which
 * it would do a tenth as often otherwise. So what is done once a second or less often is not in these figures:
 * `overhead` and `watchdog` have it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { TestRedis } from '../../../test/dist/support/redis.js';
import type { Fetcher } from './fetcher.js';
import { countStolenTime, MAX_STOLEN } from './stolen-time.js';

const ADD_AT_ONCE = 2_000;
const POLL_MS = 2;
const MAX_SILENCE_MS = 60_000;
const SETTLE_MS = 150;
const TURN_MS = 350;
/** Cycles of one turn each, in a round. */
const CYCLES = 5;
/** So many times the cycles that are wanted; then those that were disturbed count as well. */
const MOST_TRIES = 2;
/** Jobs the next time, by those that were too few. */
const MORE = 1.5;

/** All turns of one process in a round. */
export interface Turns {
  jobs: number;
  ms: number;
  /** Of the process that runs jobs. */
  cpuMs: number;
  redisCpuMs: number;
  /** Scripts and blocking waits. */
  commands: number;
}

/** Leaves it stopped, its queues paused and empty. */
export async function warmUp(fetcher: Fetcher, jobs: number): Promise<void> {
  await topUp(fetcher, jobs, 0);
  await drained(fetcher);
  await Promise.all(fetcher.queues.map((queue) => queue.pause()));
  fetcher.stop();
}

/**
 * Takes and leaves them stopped, their queues paused.
 *
 * A cycle in which a process ran out of jobs says nothing of how fast it is: it is taken again, with more of them.
 *
 * @param jobs how many each has at the beginning of a turn; in strict order, queue after queue is worked on if they are few
 * @throws jobs ran out each time
 */
export async function measureTurns(
  fetchers: readonly Fetcher[],
  jobs: number,
  jobMs: number,
): Promise<Map<Fetcher, Turns>> {
  for (const fetcher of fetchers) await Promise.all(fetcher.queues.map((queue) => queue.resume()));
  const cycles: { turns: Map<Fetcher, Turns>; isQuiet: boolean }[] = [];
  const quiet = () => cycles.filter(({ isQuiet }) => isQuiet);
  let order = fetchers;
  let backlog = jobs;
  for (let tries = 0; quiet().length < CYCLES && tries < CYCLES * MOST_TRIES; tries += 1) {
    // the first after the question finds a colder machine
    order = order.toReversed();
    const turns = new Map<Fetcher, Turns>();
    const stolen = countStolenTime();
    for (const fetcher of order) {
      await topUp(fetcher, backlog, jobMs);
      const turn = await takeTurn(fetcher);
      if (turn) turns.set(fetcher, turn);
    }
    if (turns.size === fetchers.length) cycles.push({ turns, isQuiet: (stolen() ?? 0) <= MAX_STOLEN });
    else backlog *= MORE;
  }
  if (cycles.length === 0) throw new Error('the processes ran out of jobs in each turn');
  for (const { queues } of fetchers) {
    await Promise.all(queues.map((queue) => queue.pause()));
    await Promise.all(queues.map((queue) => queue.drain()));
  }
  const counted = quiet().length < CYCLES ? cycles : quiet();
  return new Map(
    fetchers.map((fetcher) => [fetcher, sum(counted.flatMap(({ turns }) => turns.get(fetcher) ?? []))]),
  );
}

function sum(turns: readonly Turns[]): Turns {
  const total = (of: keyof Turns): number => turns.reduce((so, turn) => so + turn[of], 0);
  return {
    jobs: total('jobs'),
    ms: total('ms'),
    cpuMs: total('cpuMs'),
    redisCpuMs: total('redisCpuMs'),
    commands: total('commands'),
  };
}

/** @returns null: it ran out of jobs, or would soon have; stock Workers did so if one of their queues was */
async function takeTurn(fetcher: Fetcher): Promise<Turns | null> {
  fetcher.resume();
  await delay(SETTLE_MS);
  const before = await standing(fetcher);
  await delay(TURN_MS);
  const after = await standing(fetcher);
  fetcher.stop();
  const least = fetcher.kind === 'stock' ? Math.min(...after.left) * fetcher.queues.length : after.jobsLeft;
  if (least <= 2 * fetcher.places) return null;
  return {
    jobs: before.jobsLeft - after.jobsLeft,
    ms: after.atMs - before.atMs,
    cpuMs: after.cpuMs - before.cpuMs,
    redisCpuMs: after.redisCpuMs - before.redisCpuMs,
    commands: after.commands - before.commands,
  };
}

async function standing(fetcher: Fetcher) {
  // in one go, and answered in this order
  const [left, usage] = await Promise.all([leftOfEach(fetcher), usageOf(fetcher.redis)]);
  return {
    left,
    jobsLeft: left.reduce((sum, count) => sum + count, 0),
    ...usage,
    cpuMs: fetcher.cpuMs,
    atMs: performance.now(),
  };
}

export function jobsPerSecond({ jobs, ms }: Turns): number {
  return (jobs * 1_000) / ms;
}

/** So that each of its queues has its part of so many jobs. */
async function topUp({ queues, redis: { client } }: Fetcher, jobs: number, ms: number): Promise<void> {
  const each = Math.ceil(jobs / queues.length);
  for (const queue of queues) {
    for (let left = await client.llen(queue.toKey('wait')); left < each; left += ADD_AT_ONCE) {
      const size = Math.min(ADD_AT_ONCE, each - left);
      await queue.addBulk(Array.from({ length: size }, () => ({ name: 'job', data: { ms } })));
    }
  }
}

async function drained(fetcher: Fetcher): Promise<void> {
  let [leftBefore, movedAtMs] = [Number.POSITIVE_INFINITY, performance.now()];
  for (;;) {
    const left = await jobsLeft(fetcher);
    const nowMs = performance.now();
    if (left === 0) return;
    if (left !== leftBefore) [leftBefore, movedAtMs] = [left, nowMs];
    if (nowMs - movedAtMs > MAX_SILENCE_MS)
      throw new Error(`${left} jobs are left, and none has ended for ${MAX_SILENCE_MS} ms`);
    await delay(POLL_MS);
  }
}

export async function jobsLeft(fetcher: Pick<Fetcher, 'queues' | 'redis'>): Promise<number> {
  return (await leftOfEach(fetcher)).reduce((sum, count) => sum + count, 0);
}

/** Of each queue. A job is in `active` until it is completed. */
function leftOfEach({ queues, redis: { client } }: Pick<Fetcher, 'queues' | 'redis'>): Promise<number[]> {
  return Promise.all(
    queues.map(async (queue) => {
      const lists = ['wait', 'paused', 'active'].map((name) => client.llen(queue.toKey(name)));
      return (await Promise.all(lists)).reduce((sum, length) => sum + length, 0);
    }),
  );
}

async function usageOf({ client }: TestRedis): Promise<{ redisCpuMs: number; commands: number }> {
  const [cpu, stats] = await Promise.all([client.info('cpu'), client.info('commandstats')]);
  const seconds = (name: string): number => Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(cpu)?.[1]);
  const calls = (name: string): number =>
    Number(new RegExp(`^cmdstat_${name}:calls=(\\d+)`, 'm').exec(stats)?.[1] ?? 0);
  return {
    redisCpuMs: 1_000 * (seconds('used_cpu_user') + seconds('used_cpu_sys')),
    commands: calls('evalsha') + calls('eval') + calls('bzpopmin'),
  };
}
