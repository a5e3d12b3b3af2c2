/** A child that is blocked for longer than its locks last: its jobs run once all the same. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { project } from '../support/programs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { IS_LONG, MAJORS } from '../support/tier.js';
import { Trial } from '../support/trial.js';
import { waitFor } from '../support/wait.js';

const LOCK_MS = 5_000;
const SHORT_LOCKS = {
  APP_WORKER_OPTIONS: JSON.stringify({ lockDuration: LOCK_MS, stalledInterval: 1_000 }),
};
const EXTENDED = 'extended the locks of a blocked child';

describe('the locks of a blocked child', { concurrency: 2 }, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  for (const major of MAJORS) {
    it(`are extended for twice as long as they last: its job runs once, on bullmq ${major}`, async (t) => {
      const trial = new Trial(t, redis, { major });
      const modules = { bullmq: major === 6 ? 'bullmq' : 'bullmq5' };
      const directory = await project(t, { 'worker.mjs': { app: 'fault-worker.mjs' } }, modules);
      const swarm = trial.start(2, { app: join(directory, 'worker.mjs'), env: SHORT_LOCKS });
      await swarm.ready(2);
      const id = await trial.add({ spinMs: 2.5 * LOCK_MS });
      const { pid } = await trial.runs(id);
      const extended = await swarm.line(EXTENDED);
      assert.notEqual(extended.pid, pid);
      await trial.nothingLost(new Map([[swarm, 2]]));
      assert.equal(swarm.all(`runs ${id}`).length, 1);
      assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 1, stalled: 0 });
    });
  }

  for (const signal of IS_LONG ? (['SIGKILL', 'SIGSTOP'] as const) : (['SIGSTOP'] as const)) {
    it(`are extended by another when the sibling that does it gets ${signal}`, async (t) => {
      const trial = new Trial(t, redis);
      const swarm = trial.start(3, { env: SHORT_LOCKS });
      await swarm.ready(3);
      const id = await trial.add({ spinMs: 3 * LOCK_MS });
      const { pid } = await trial.runs(id);
      const first = await swarm.line(EXTENDED);
      process.kill(first.pid as number, signal);
      const by = new Set([pid, first.pid]);
      await waitFor('another one extends them', () => swarm.all(EXTENDED).some((line) => !by.has(line.pid)));
      if (signal === 'SIGSTOP') process.kill(first.pid as number, 'SIGCONT');
      await trial.nothingLost(new Map([[swarm, 3]]));
      assert.equal(swarm.all(`runs ${id}`).length, 1);
      assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 1, stalled: 0 });
    });
  }

  it('are extended in a swarm app, also where its process is stopped', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2, { app: 'fault-app.mjs' });
    await swarm.ready(2);
    const id = await trial.add({ ms: 20_000 });
    const { pid } = await trial.runs(id);
    const lock = `${trial.queue.toKey(id)}:lock`;
    const lastsMs = await redis.client.pttl(lock);
    process.kill(pid, 'SIGSTOP');
    await waitFor('a good part of the lock is over', async () => {
      return (await redis.client.pttl(lock)) < lastsMs - 10_000;
    });
    await swarm.line(EXTENDED);
    assert.ok((await redis.client.pttl(lock)) > lastsMs - 5_000);
    process.kill(pid, 'SIGCONT');
    await trial.nothingLost(new Map([[swarm, 2]]));
    assert.equal(swarm.all(`runs ${id}`).length, 1);
  });
});
