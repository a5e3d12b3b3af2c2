/** Faults 15 and 16: a Redis that is there and answers nothing, or answers no. */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { completed } from '../support/jobs.js';
import { openLink } from '../support/link.js';
import { isAlive } from '../support/processes.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import type { Swarm } from '../support/swarm.js';
import { Trial } from '../support/trial.js';
import { waitFor } from '../support/wait.js';

const LOST = 'registry is not written: Redis does not take it; children go on, and it is tried every second';
const LEFT =
  "jobs are left in active: the next master on this host releases what is there, or another host's, or else BullMQ's stalled check";
const BACK = 'registry is written again';
/** So that a client notices that nothing comes. */
const KEYS = 200;

describe('Redis', { concurrency: 3 }, () => {
  it('is a black hole: the master minds its children, and stops within its budget', async (t) => {
    const redis = await ownRedis(t);
    const link = await openLink(redis.port);
    t.after(() => link.close());
    const trial = new Trial(t, redis);
    const through = {
      QUEUE_REDIS_PORT: String(link.port),
      SWARM_REDIS_URL: `redis://127.0.0.1:${link.port}`,
    };
    const swarm = trial.start(2, {
      args: ['--timeout', '2s', '--redis', through.SWARM_REDIS_URL],
      env: through,
    });
    const [pid = 0] = await swarm.ready(2);
    const id = await trial.add({ first: { ms: 600_000 } });
    const holder = await trial.runs(id);
    link.cut();

    await swarm.line(LOST, {}, { timeoutMs: 30_000 });
    const idle = holder.pid === pid ? ([...swarm.children.values()].at(-1) ?? 0) : pid;
    const killedAtMs = Date.now();
    process.kill(idle, 'SIGKILL');
    const exited = await swarm.line('exited', { pid: idle });
    t.diagnostic(`a killed child was seen ${Date.parse(exited.time) - killedAtMs} ms later`);
    await swarm.line('spawned', {}, { nth: 3 });

    const stoppedAtMs = Date.now();
    assert.equal(await swarm.stop(), 1, 'a job is left');
    const tookMs = Date.now() - stoppedAtMs;
    t.diagnostic(`stopped after ${tookMs} ms, with a budget of 2 s and 3 s more`);
    assert.ok(tookMs < 15_000);
    assert.deepEqual(swarm.processes, []);
    const left = await swarm.line(LEFT, { jobs: `${trial.queue.name}/${id}` });
    assert.equal(left.level, 'error');

    // what could not be handed back is what a successor finds
    link.mend();
    const successor = trial.start(2, { args: ['--redis', through.SWARM_REDIS_URL], env: through });
    await trial.nothingLost(new Map([[successor, 2]]));
  });

  it('became a replica (READONLY), as in a fail-over', async (t) => {
    await refuses(t, {
      refuse: (redis) => redis.client.replicaof('127.0.0.1', 1),
      relent: (redis) => redis.client.replicaof('NO', 'ONE'),
      says: /READONLY/,
    });
  });

  it('has no memory left (OOM command not allowed)', async (t) => {
    const redis = await ownRedis(t);
    const trial = new Trial(t, redis);
    const swarm = trial.start(2, { env: { APP_CONCURRENCY: '3' } });
    const pids = await swarm.ready(2);
    await trial.addMany(20, { ms: 300 });
    await completed(trial.queue, 3);
    await redis.client.config('SET', 'maxmemory', '1');
    // a script that has begun to write may write on, so what runs ends; nothing new begins
    await assert.rejects(trial.queue.add('job', {}), /OOM/);
    const { code, stderr } = await trial.command('quiet', 'all');
    assert.equal(code, 69);
    assert.match(
      stderr,
      /^swarm: SWARM_REDIS_REFUSED: Redis at \S+ is there, and says no \(OOM .*raise its maxmemory/,
    );
    await waitFor('what was there has ended', async () => (await trial.queue.getActiveCount()) === 0, {
      timeoutMs: 30_000,
    });
    await redis.client.config('SET', 'maxmemory', '0');
    await trial.addMany(4, { ms: 10 });
    await goesOn(trial, swarm, pids);
  });

  it('takes no more clients', async (t) => {
    await refuses(t, {
      refuse: async (redis) => {
        await redis.client.config('SET', 'maxclients', '1');
        await redis.client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
      },
      relent: (redis) => redis.client.config('SET', 'maxclients', '10000'),
      says: /maxclients/,
    });
  });

  it('loads its data (LOADING)', async (t) => {
    // 20 ms a key, so that it takes a while
    await refuses(t, {
      options: ['--appendonly', 'yes', '--key-load-delay', '20000'],
      refuse: async (redis) => {
        await redis.client.mset(Array.from({ length: 2 * KEYS }, (_, at) => `filler:${at >> 1}`));
        for (let at = 0; at < KEYS; at += 1) await redis.client.set(`filler:${at}`, 'x');
        await redis.stop('SIGKILL');
        await redis.start();
      },
      relent: async () => {},
      says: /ECONNREFUSED|loads its data|hangs up|timed out/,
    });
  });
});

async function ownRedis(t: TestContext, options: readonly string[] = []): Promise<TestRedis> {
  const redis = await startRedis(options);
  t.after(() => redis.close());
  return redis;
}

/** It refuses for a while under load: nobody is killed for it, it is said once, and all of it goes on. */
async function refuses(
  t: TestContext,
  fault: {
    options?: readonly string[];
    refuse: (redis: TestRedis) => Promise<unknown>;
    relent: (redis: TestRedis) => Promise<unknown>;
    says: RegExp;
  },
): Promise<void> {
  const redis = await ownRedis(t, fault.options);
  const trial = new Trial(t, redis);
  const swarm = trial.start(2, { env: { APP_CONCURRENCY: '3' } });
  const pids = await swarm.ready(2);
  await trial.addMany(40, { ms: 100 });
  await completed(trial.queue, 6);

  await fault.refuse(redis);
  // on a busy machine a connection that was slow may have been an outage of its own
  const isSaid = () => swarm.all(LOST).some(({ error }) => fault.says.test(String(error)));
  await waitFor(`the log says ${fault.says}`, isSaid, { timeoutMs: 30_000 }).finally(() =>
    fault.relent(redis),
  );
  const outages = swarm.all(LOST).length;
  await swarm.line(BACK, {}, { timeoutMs: 30_000, nth: outages });
  const backAtMs = Date.now();
  await goesOn(trial, swarm, pids);
  t.diagnostic(`all jobs ended ${Date.now() - backAtMs} ms after the registry was back`);
  for (const id of trial.ids) assert.equal((await trial.counters(id)).stalled, 0);
  assert.equal(swarm.all(LOST).length, swarm.all(BACK).length, 'said once, not at each try');
}

async function goesOn(trial: Trial, swarm: Swarm, pids: readonly number[]): Promise<void> {
  await waitFor(
    'all jobs end',
    async () => (await trial.queue.getJobCountByTypes('active', 'waiting')) === 0,
    { timeoutMs: 20_000 },
  );
  await trial.nothingLost(new Map([[swarm, 2]]));
  assert.ok(pids.every(isAlive), 'nobody was killed for it');
}
