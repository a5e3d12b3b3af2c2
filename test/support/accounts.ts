/**
 * "Nothing lost", the base of every fault: what must hold once a fault is over, whatever it was. Each
 * thing that can come late is waited for, with one deadline for all of it.
 */
import assert from 'node:assert/strict';
import type { Queue } from 'bullmq';
import { Registry } from 'bullmq-swarm/registry';
import type { TestRedis } from './redis.js';
import type { Swarm } from './swarm.js';
import { isAlive, waitFor } from './wait.js';

export interface Accounts {
  redis: TestRedis;
  namespace: string;
  /** Every master that the test started, and how many children it goes on with; 0: it has ended. */
  masters: readonly { swarm: Swarm; children: number }[];
  /** Every job that was added. */
  jobs: readonly { queue: Queue; ids: readonly string[] }[];
  /** What an ended master may have written to stderr; default: nothing. */
  stderr?: RegExp;
  timeoutMs?: number;
}

export async function nothingLost(accounts: Accounts): Promise<void> {
  const { masters, jobs, timeoutMs = 20_000 } = accounts;
  for (const { queue, ids } of jobs) {
    await jobsEnded(queue, ids, timeoutMs);
    await locksGone(accounts.redis, queue);
    await endedOnce(accounts.redis, queue, ids);
  }
  for (const { swarm, children } of masters) {
    await childrenUp(swarm, children, timeoutMs);
    await noStrays(swarm);
  }
  await registryIsRight(accounts, timeoutMs);
  for (const { swarm } of masters) soundLog(swarm, accounts.stderr ?? /^$/);
}

/** Each job is completed, or failed with a reason; none is anywhere else. */
async function jobsEnded(queue: Queue, ids: readonly string[], timeoutMs: number): Promise<void> {
  const open = async (): Promise<string[]> => {
    const states = await Promise.all(ids.map((id) => queue.getJobState(id)));
    return ids.flatMap((id, at) => (['completed', 'failed'].includes(states[at] as string) ? [] : [`${id}: ${states[at]}`]));
  };
  try {
    await waitFor('jobs end', async () => (await open()).length === 0, { timeoutMs });
  } catch {
    assert.fail(`of ${ids.length} jobs of ${queue.name} these did not end within ${timeoutMs} ms: ${(await open()).join(', ')}`);
  }
  for (const job of await queue.getFailed()) {
    assert.ok(job.failedReason, `job ${job.id} failed without a reason`);
  }
  const { active, waiting, prioritized, delayed } = await queue.getJobCounts('active', 'waiting', 'prioritized', 'delayed');
  assert.deepEqual({ active, waiting, prioritized, delayed }, { active: 0, waiting: 0, prioritized: 0, delayed: 0 });
}

async function locksGone(redis: TestRedis, queue: Queue): Promise<void> {
  await waitFor(`no lock of ${queue.name} is left`, async () => {
    const locks = (await redis.client.keys('*:lock')).filter((key) => key.startsWith(queue.toKey('')));
    return locks.length === 0;
  });
}

/** Exactly one final state each, by BullMQ's own event stream. */
async function endedOnce(redis: TestRedis, queue: Queue, ids: readonly string[]): Promise<void> {
  const events = await redis.client.xrange(queue.toKey('events'), '-', '+');
  const ends = new Map<string, string[]>();
  for (const [, fields] of events) {
    const event = new Map<string, string>();
    for (let at = 0; at < fields.length; at += 2) event.set(fields[at] as string, fields[at + 1] as string);
    const [name = '', id = ''] = [event.get('event'), event.get('jobId')];
    if (name === 'completed' || name === 'failed') ends.set(id, [...(ends.get(id) ?? []), name]);
  }
  for (const id of ids) assert.equal(ends.get(id)?.length, 1, `job ${id} of ${queue.name} ended ${ends.get(id) ?? 'never'}`);
}

async function childrenUp(swarm: Swarm, count: number, timeoutMs: number): Promise<void> {
  if (count === 0) return assert.ok(!isAlive(swarm.pid), `master ${swarm.pid} still runs`);
  assert.ok(isAlive(swarm.pid), `master ${swarm.pid} is gone\n${swarm.tail()}`);
  const pids = await swarm.ready(count, { timeoutMs });
  assert.deepEqual(pids.filter((pid) => !isAlive(pid)), []);
}

/** What runs because of a master is itself, its children, and what is in the group of a living child. */
async function noStrays(swarm: Swarm): Promise<void> {
  const strays = (): string[] => {
    const groups = new Set(swarm.children.values());
    return swarm.processes
      .filter(({ pid, pgrp }) => pid !== swarm.pid && !groups.has(pgrp))
      .map(({ pid, command }) => `${pid} ${command}`);
  };
  try {
    await waitFor('no stray process', () => strays().length === 0, { timeoutMs: 5_000 });
  } catch {
    assert.fail(`stray processes:\n${strays().join('\n')}`);
  }
}

/**
 * Those masters are in it that run, with all their children up; nobody else, but for a master that
 * stopped too soon after a child's death to be sure of its jobs: it leaves what it owes to the next.
 */
async function registryIsRight({ redis, namespace, masters }: Accounts, timeoutMs: number): Promise<void> {
  const registry = new Registry({ redis: redis.url, namespace });
  const wanted = masters
    .filter(({ children }) => children > 0)
    .map(({ swarm, children }) => `${swarm.pid}: up, ${children} of ${children}`)
    .sort();
  const shown = async (): Promise<string[]> => {
    const records = await registry.masters();
    return records
      .filter(({ pid, state, owed }) => isAlive(pid) || state !== 'stopping' || owed.length === 0)
      .map(({ pid, state, count, children }) => {
        const up = children.filter((child) => child.state === 'up' && isAlive(child.pid)).length;
        return `${pid}: ${state}, ${up} of ${count}`;
      })
      .sort();
  };
  try {
    await waitFor('the registry is right', async () => String(await shown()) === String(wanted), { timeoutMs });
  } catch (error) {
    const logs = masters.map(({ swarm }) => swarm.tail(8)).join('\n\n');
    assert.fail(`${(error as Error).message}\nwanted ${JSON.stringify(wanted)}\nfound ${JSON.stringify(await shown())}\n${logs}`);
  } finally {
    await registry.close();
  }
}

function soundLog(swarm: Swarm, stderr: RegExp): void {
  assert.deepEqual(swarm.lines.filter(({ level }) => level === 'not-json'), []);
  assert.match(swarm.stderr, stderr, 'the master wrote to stderr');
}
