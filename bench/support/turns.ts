/**
 * Processes that do the same jobs by turns of a quarter of a second, all others stopped meanwhile (SIGSTOP). So each has the
 * machine for itself, and what else happens to the machine – others on its host take half of it for seconds – happens
 * to all of them. Not shorter: what a process has sent before it is stopped Redis does for it outside of its turn,
 * which is more for whoever has more under way.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { TestRedis } from '../../../test/dist/support/redis.js';
import type { Fetcher } from './fetcher.js';

const ADD_AT_ONCE = 2_000;
const POLL_MS = 2;
const MAX_SILENCE_MS = 60_000;
const TURN_MS = 250;
/** With less than this part of the jobs left, queues run dry. */
const ENOUGH_LEFT = 0.1;

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

/** Leaves it stopped, its queues paused. */
export async function warmUp(fetcher: Fetcher, jobs: number): Promise<void> {
  await addJobs(fetcher, jobs, 0);
  await drained(fetcher);
  await Promise.all(fetcher.queues.map((queue) => queue.pause()));
  fetcher.stop();
}

/** Until the first of them has few jobs left. Takes and leaves them stopped, their queues paused. */
export async function measureTurns(
  fetchers: readonly Fetcher[],
  jobs: number,
  jobMs: number,
): Promise<Map<Fetcher, Turns>> {
  const results = new Map<Fetcher, Turns>();
  for (const fetcher of fetchers) {
    await addJobs(fetcher, jobs, jobMs);
    await Promise.all(fetcher.queues.map((queue) => queue.resume()));
    results.set(fetcher, { jobs: -(await jobsLeft(fetcher)), ms: 0, cpuMs: 0, redisCpuMs: 0, commands: 0 });
  }
  let isEnough = false;
  let order = [...results];
  while (!isEnough) {
    // the first after the question finds a colder machine
    order = order.toReversed();
    for (const [fetcher, result] of order) await takeTurn(fetcher, result);
    const left = await Promise.all(fetchers.map(jobsLeft));
    isEnough = left.some((count) => count < jobs * ENOUGH_LEFT);
  }
  for (const [fetcher, result] of results) {
    result.jobs *= -1;
    result.jobs -= await jobsLeft(fetcher);
    await Promise.all(fetcher.queues.map((queue) => queue.pause()));
    await Promise.all(fetcher.queues.map((queue) => queue.drain()));
  }
  return results;
}

async function takeTurn(fetcher: Fetcher, result: Turns): Promise<void> {
  const before = { cpuMs: fetcher.cpuMs, ...(await usageOf(fetcher.redis)) };
  const beganAtMs = performance.now();
  fetcher.resume();
  await delay(TURN_MS);
  fetcher.stop();
  result.ms += performance.now() - beganAtMs;
  const after = { cpuMs: fetcher.cpuMs, ...(await usageOf(fetcher.redis)) };
  result.cpuMs += after.cpuMs - before.cpuMs;
  result.redisCpuMs += after.redisCpuMs - before.redisCpuMs;
  result.commands += after.commands - before.commands;
}

export function jobsPerSecond({ jobs, ms }: Turns): number {
  return (jobs * 1_000) / ms;
}

async function addJobs({ queues }: Fetcher, jobs: number, ms: number): Promise<void> {
  const each = Math.ceil(jobs / queues.length);
  for (const queue of queues) {
    for (let added = 0; added < each; added += ADD_AT_ONCE) {
      const size = Math.min(ADD_AT_ONCE, each - added);
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

/** One is in `active` until it is completed. */
export async function jobsLeft({
  queues,
  redis: { client },
}: Pick<Fetcher, 'queues' | 'redis'>): Promise<number> {
  const keys = queues.flatMap((queue) => ['wait', 'paused', 'active'].map((name) => queue.toKey(name)));
  const lengths = await Promise.all(keys.map((key) => client.llen(key)));
  return lengths.reduce((sum, length) => sum + length, 0);
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
