/**
 * "Nothing lost", the base of every fault: what must hold once a fault is over, whatever it was. Each
 * thing that can come late is waited for, with one deadline for all of it.
 */
import assert from 'node:assert/strict';
import type { Queue } from 'bullmq';
import { type MasterRecord, Registry } from 'bullmq-swarm/registry';
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
  const { masters, timeoutMs = 60_000 } = accounts;
  await noJobLost(accounts, timeoutMs);
  const children = await registryIsRight(accounts, timeoutMs);
  for (const { swarm } of masters) {
    await noStrays(swarm, children.get(swarm.pid) ?? []);
    soundLog(swarm, accounts.stderr ?? /^$/);
  }
}

/** The part of it that is about jobs alone. */
export async function noJobLost(
  { redis, jobs }: Pick<Accounts, 'redis' | 'jobs'>,
  timeoutMs = 60_000,
): Promise<void> {
  for (const { queue, ids } of jobs) {
    await jobsEnded(queue, ids, timeoutMs);
    await locksGone(redis, queue);
    await endedOnce(redis, queue, ids);
  }
}

/** Each job is completed, or failed with a reason; none is anywhere else. */
async function jobsEnded(queue: Queue, ids: readonly string[], timeoutMs: number): Promise<void> {
  const open = async (): Promise<string[]> => {
    const states = await Promise.all(ids.map((id) => queue.getJobState(id)));
    return ids.flatMap((id, at) =>
      ['completed', 'failed'].includes(states[at] as string) ? [] : [`${id}: ${states[at]}`],
    );
  };
  try {
    // thousands of jobs are asked for one by one only when the counts say that they have ended
    const ended = async (): Promise<boolean> => (await countOpen(queue)) === 0 && (await open()).length === 0;
    await waitFor('jobs end', ended, { timeoutMs });
  } catch {
    assert.fail(
      `of ${ids.length} jobs of ${queue.name} these did not end within ${timeoutMs} ms: ${(await open()).join(', ')}`,
    );
  }
  for (const job of await queue.getFailed()) {
    assert.ok(job.failedReason, `job ${job.id} failed without a reason`);
  }
  assert.equal(await countOpen(queue), 0);
}

async function countOpen(queue: Queue): Promise<number> {
  const counts = await queue.getJobCounts('active', 'waiting', 'prioritized', 'delayed');
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
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
  for (const id of ids)
    assert.equal(ends.get(id)?.length, 1, `job ${id} of ${queue.name} ended ${ends.get(id) ?? 'never'}`);
}

/** What runs because of a master is itself, its children, and what is in the group of a living child. */
async function noStrays(swarm: Swarm, children: readonly number[]): Promise<void> {
  const strays = (): string[] => {
    return swarm.processes
      .filter(({ pid, pgrp }) => !(pid === swarm.pid && children.length > 0) && !children.includes(pgrp))
      .map(({ pid, command }) => `${pid} ${command}`);
  };
  try {
    await waitFor('no stray process', () => strays().length === 0, { timeoutMs: 10_000, everyMs: 100 });
  } catch {
    assert.fail(`stray processes:\n${strays().join('\n')}`);
  }
}

/**
 * Those masters are in it that run, with all their children up; nobody else, but for a master that
 * stopped too soon after a child's death to be sure of its jobs: it leaves what it owes to the next.
 *
 * @returns pids of the children by pid of their master
 */
async function registryIsRight(
  { redis, namespace, masters }: Accounts,
  timeoutMs: number,
): Promise<Map<number, number[]>> {
  const registry = new Registry({ redis: redis.url, namespace });
  const wanted = masters
    .filter(({ children }) => children > 0)
    .map(({ swarm, children }) => `${swarm.pid}: up, ${children} of ${children}`);
  let found: string[] = [];
  let failure = '';
  let shown: MasterRecord[] = [];
  const fail = (error: Error): [] => {
    failure = error.message;
    return [];
  };
  try {
    await waitFor(
      'the registry is right',
      async () => {
        shown = (await registry.masters().catch(fail)).filter(({ pid, state, owed }) => {
          return isAlive(pid) || state !== 'stopping' || owed.length === 0;
        });
        found = shown.map(({ pid, state, count, children }) => {
          const up = children.filter((child) => child.state === 'up' && isAlive(child.pid));
          return `${pid}: ${state}, ${up.length} of ${count}`;
        });
        return String(found.sort()) === String(wanted.sort());
      },
      { timeoutMs },
    );
  } catch {
    const logs = masters.map(({ swarm }) => swarm.tail(8)).join('\n\n');
    assert.fail(
      `the registry has ${JSON.stringify(found)} instead of ${JSON.stringify(wanted)} ${failure}\n${logs}`,
    );
  } finally {
    await registry.close();
  }
  return new Map(shown.map(({ pid, children }) => [pid, children.map((child) => child.pid)]));
}

function soundLog(swarm: Swarm, stderr: RegExp): void {
  assert.deepEqual(
    swarm.lines.filter(({ level }) => level === 'not-json'),
    [],
  );
  assert.match(swarm.stderr, stderr, 'the master wrote to stderr');
}
