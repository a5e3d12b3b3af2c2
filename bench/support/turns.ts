/**
 * Turns of about a second, each measured from the resume of filled queues to the last completion. Between two turns a
 * process is stopped (SIGSTOP), so that each has the machine for itself, and those that are compared are measured next to
 * each other.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { TestRedis } from '../../../test/dist/support/redis.js';
import type { Fetcher } from './fetcher.js';

const ADD_AT_ONCE = 2_000;
const POLL_MS = 2;
const MAX_SILENCE_MS = 60_000;
/** For what a stopped process has to catch up with when it goes on. */
const SETTLE_MS = 50;

export interface Turn {
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

export async function measureTurn(fetcher: Fetcher, jobs: number, jobMs: number): Promise<Turn> {
  const { redis, queues } = fetcher;
  await addJobs(fetcher, jobs, jobMs);
  fetcher.resume();
  await delay(SETTLE_MS);
  const before = { cpuMs: fetcher.cpuMs, ...(await usageOf(redis)) };
  const beganAtMs = performance.now();
  await Promise.all(queues.map((queue) => queue.resume()));
  const endedAtMs = await drained(fetcher);
  const after = { cpuMs: fetcher.cpuMs, ...(await usageOf(redis)) };
  await Promise.all(queues.map((queue) => queue.pause()));
  fetcher.stop();
  return {
    jobs,
    ms: endedAtMs - beganAtMs,
    cpuMs: after.cpuMs - before.cpuMs,
    redisCpuMs: after.redisCpuMs - before.redisCpuMs,
    // the scripts that resumed the queues are this benchmark's own
    commands: after.commands - before.commands - queues.length,
  };
}

export function jobsPerSecond({ jobs, ms }: Turn): number {
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

/** Resolves to when it was first seen that no job is left: one is in `active` until it is completed. */
async function drained({ queues, redis: { client } }: Fetcher): Promise<number> {
  let [leftBefore, movedAtMs] = [Number.POSITIVE_INFINITY, performance.now()];
  for (;;) {
    const keys = queues.flatMap((queue) => [queue.toKey('wait'), queue.toKey('active')]);
    const lengths = await Promise.all(keys.map((key) => client.llen(key)));
    const nowMs = performance.now();
    const left = lengths.reduce((sum, length) => sum + length, 0);
    if (left === 0) return nowMs;
    if (left !== leftBefore) [leftBefore, movedAtMs] = [left, nowMs];
    if (nowMs - movedAtMs > MAX_SILENCE_MS)
      throw new Error(`${left} jobs are left, and none has ended for ${MAX_SILENCE_MS} ms`);
    await delay(POLL_MS);
  }
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
