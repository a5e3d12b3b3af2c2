/** What of a lost host's jobs is put back, and what is not touched: with real Redis and real BullMQ. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { type Job, Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import type { BullWorker } from '../dist/child/bullmq.js';
import { redisIdOfWorker } from '../dist/child/bullmq.js';
import { Workers } from '../dist/child/workers.js';
import type { LostHolding } from '../dist/protocol.js';
import { sweepHolding } from '../dist/recovery/sweep.js';
import { startRedis, type TestRedis } from './redis-server.js';

let server: TestRedis;
let client: Redis;
before(async () => {
  server = await startRedis();
  client = new Redis({ port: server.port, maxRetriesPerRequest: null });
});
after(async () => {
  await Promise.all(opened.map((one) => one.close()));
  client.disconnect();
  await server.stop();
});

const DEAD = 'dead:';
let queues = 0;
const opened: (Queue | Worker)[] = [];
let queue: Queue;
let worker: Worker;
let workers: Workers;

beforeEach(async () => {
  const connection = { host: '127.0.0.1', port: server.port };
  const name = `q${++queues}`;
  queue = new Queue(name, { connection });
  worker = new Worker(name, null, { connection, autorun: false });
  await worker.waitUntilReady();
  workers = new Workers(null, {
    onStarted: () => {},
    onEnded: () => {},
    onStaleEnd: () => {},
    onOpenEnd: () => {},
    onTrouble: () => {},
  });
  workers.add(worker as unknown as BullWorker);
  opened.push(queue, worker);
});

/** A job that is active under this token, with so much time left on its lock; 0: none at all. */
async function active(token: string, lockMs: number, options: { priority?: number } = {}): Promise<Job> {
  await queue.add('x', {}, options);
  const job = (await worker.getNextJob(token)) as Job;
  if (lockMs === 0) await client.del(lockOf(job));
  else await client.pexpire(lockOf(job), lockMs);
  return job;
}

function lockOf({ id }: Job): string {
  return `${queue.toKey(id as string)}:lock`;
}

function holding(takeBelowMs: number, jobs: readonly Job[] = []): LostHolding {
  return {
    queue: queue.name,
    prefix: 'bull',
    redisId: redisIdOfWorker(worker as unknown as BullWorker),
    tokens: [{ prefix: DEAD, takeBelowMs }],
    jobIds: jobs.map(({ id }) => id as string),
  };
}

async function stateOf({ id }: Job): Promise<string> {
  return queue.getJobState(id as string);
}

describe('a sweep of a lost host', () => {
  it('takes what missed a renewal, and waits for the rest', async () => {
    const late = await active(`${DEAD}1`, 9_000);
    const early = await active(`${DEAD}2`, 20_000);
    const others = await active('alive:1', 9_000);
    const { served, released, waiting } = await sweepHolding(workers, holding(10_000), 'me');
    assert.deepEqual([served, released], [true, [late.id]]);
    assert.deepEqual(
      waiting.map(({ id }) => id),
      [early.id],
    );
    const [{ takeInMs } = { takeInMs: 0 }] = waiting;
    assert.ok(takeInMs > 5_000 && takeInMs <= 10_000, `${takeInMs}`);
    assert.deepEqual(await Promise.all([late, early, others].map(stateOf)), ['waiting', 'active', 'active']);
    assert.equal(await client.get(lockOf(early)), `${DEAD}2`);
    const { attemptsMade, stalledCounter } = (await queue.getJob(late.id as string)) as Job;
    assert.deepEqual([attemptsMade, stalledCounter], [0, 0]);
    assert.equal(await client.exists(lockOf(late)), 0);
  });

  it('takes what it reported only if nobody has a lock on it', async () => {
    const bare = await active(`${DEAD}1`, 0);
    const unknown = await active(`${DEAD}2`, 0);
    const others = await active('alive:1', 5_000);
    const { released, waiting } = await sweepHolding(workers, holding(0, [bare, others]), 'me');
    assert.deepEqual([released, waiting], [[bare.id], []]);
    assert.deepEqual(await Promise.all([bare, unknown, others].map(stateOf)), [
      'waiting',
      'active',
      'active',
    ]);
  });

  it('takes no lock that still runs where the renewal is not known', async () => {
    const job = await active(`${DEAD}1`, 50);
    const { released, waiting } = await sweepHolding(workers, holding(0), 'me');
    assert.deepEqual([released, waiting.map(({ id }) => id)], [[], [job.id]]);
    await client.persist(lockOf(job));
    assert.deepEqual(
      (await sweepHolding(workers, holding(10_000), 'me')).released,
      [],
      'nor one without end',
    );
  });

  it('takes nothing where it only looks', async () => {
    const late = await active(`${DEAD}1`, 9_000);
    const orphaned = await active(`${DEAD}2`, 9_000);
    await client.set(lockOf(orphaned), `${DEAD}swarm:gone`, 'PX', 9_000);
    const look = { ...holding(0), tokens: [{ prefix: DEAD, takeBelowMs: null }] };
    const { released, waiting } = await sweepHolding(workers, look, 'me');
    assert.deepEqual(released, []);
    assert.deepEqual(waiting.map(({ id }) => id).toSorted(), [late.id, orphaned.id].toSorted());
  });

  it('is carried on by another after a sweeper that died with a job in its hand', async () => {
    const job = await active(`${DEAD}1`, 20_000);
    await client.set(lockOf(job), `${DEAD}swarm:gone`, 'PX', 30_000);
    assert.deepEqual((await sweepHolding(workers, holding(10_000), 'me')).released, [job.id]);
    assert.equal(await stateOf(job), 'waiting');
  });

  it('leaves each job to one of those who try at once, and its late owner empty-handed', async () => {
    const jobs: Job[] = [];
    for (let at = 0; at < 20; at++) jobs.push(await active(`${DEAD}${at}`, 5_000, { priority: at % 2 }));
    const sweeps = await Promise.all(
      ['a', 'b', 'c', 'd'].map((me) => sweepHolding(workers, holding(10_000), me)),
    );
    const released = sweeps.flatMap((swept) => swept.released);
    assert.deepEqual(released.toSorted(), jobs.map(({ id }) => id).toSorted());
    const events = await client.xrange(queue.toKey('events'), '-', '+');
    const back = events.filter(([, fields]) => fields[1] === 'waiting' && fields.includes('active'));
    assert.equal(back.length, jobs.length, 'each once');

    const again = (await worker.getNextJob('alive:1')) as Job;
    const late = jobs.find(({ id }) => id === again.id) as Job;
    await assert.rejects(late.moveToCompleted('late', late.token ?? `${DEAD}0`, false));
    await again.moveToCompleted('right', 'alive:1', false);
    assert.equal((await queue.getJob(again.id as string))?.returnvalue, 'right');
  });

  it('wakes a Worker for a prioritized job', async () => {
    const job = await active(`${DEAD}1`, 5_000, { priority: 3 });
    await client.del(queue.toKey('marker'));
    assert.deepEqual((await sweepHolding(workers, holding(10_000), 'me')).released, [job.id]);
    assert.equal(await client.zcard(queue.toKey('marker')), 1);
  });

  it('is not done by a child that does not serve the queue', async () => {
    const swept = await sweepHolding(workers, { ...holding(10_000), queue: 'other' }, 'me');
    assert.deepEqual(swept, { served: false, released: [], waiting: [] });
  });
});
