/** Faults 14, 17 and 40: Redis goes away and comes back, with its data or without. */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { completed } from '../support/jobs.js';
import { isAlive } from '../support/processes.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import type { Swarm } from '../support/swarm.js';
import { fullIt } from '../support/tier.js';
import { Trial } from '../support/trial.js';
import { waitFor } from '../support/wait.js';

const LOST = 'registry is not written: Redis does not take it; children go on, and it is tried every second';
/** Less than the rest of an outage that begins a second before. */
const BOOT_TIMEOUT = ['--boot-timeout', '5s'];

describe('Redis is gone', { concurrency: 3 }, () => {
  fullIt('for 8 s under load: no child is killed, the master registers again, work resumes', async (t) => {
    const { redis, trial } = await persistent(t);
    const swarm = trial.start(2, { env: { APP_CONCURRENCY: '3' } });
    const pids = await swarm.ready(2);
    await trial.addMany(60, { ms: 150 });
    await completed(trial.queue, 10);

    // longer than a beat
    const backAtMs = await outage(redis, 8_000, () => assert.ok(pids.every(isAlive)));
    await completed(trial.queue, 60);
    t.diagnostic(`work resumed ${Date.now() - backAtMs} ms after the return`);
    assert.ok(Date.now() - backAtMs < 10_000);
    const back = await swarm.line('registry is written again');
    t.diagnostic(`registered again ${Date.parse(back.time) - backAtMs} ms after the return`);

    await trial.nothingLost(new Map([[swarm, 2]]));
    assert.deepEqual([...swarm.children.values()].sort(), [...pids].sort());
    assert.equal(swarm.all(LOST).length, 1, 'said once, not at each try');
  });

  it('while a child dies: its jobs are released when it is back, and its slot waits for it', async (t) => {
    const { redis, trial } = await persistent(t);
    const swarm = trial.start(2, { args: BOOT_TIMEOUT });
    await swarm.ready(2);
    const id = await trial.add({ first: { ms: 600_000 } });
    const { pid } = await trial.runs(id);

    const backAtMs = await outage(redis, 7_000, () => process.kill(pid, 'SIGKILL'));
    const again = await trial.runs(id, 2);
    t.diagnostic(`runs again ${again.atMs - backAtMs} ms after the return`);
    await trial.nothingLost(new Map([[swarm, 2]]));
    assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
    const kills = swarm.all('kill').filter(({ time }) => Date.parse(time) > backAtMs - 7_000);
    assert.deepEqual(kills, [], 'nobody is killed for what Redis holds up');
  });

  fullIt('while all children die: the jobs are released by those who come after', async (t) => {
    const { redis, trial } = await persistent(t);
    const swarm = trial.start(2, { args: BOOT_TIMEOUT });
    await swarm.ready(2);
    const ids = await trial.addMany(2, { first: { ms: 600_000 } });
    for (const id of ids) await trial.runs(id);
    await outage(redis, 7_000, () => {
      for (const pid of swarm.children.values()) process.kill(pid, 'SIGKILL');
    });
    for (const id of ids) await trial.runs(id, 2);
    await trial.nothingLost(new Map([[swarm, 2]]));
    for (const id of ids) assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
  });

  fullIt(
    'with all its data (FLUSHALL): the registry is rebuilt within a beat, nobody is killed',
    async (t) => {
      const redis = await startRedis();
      t.after(() => redis.close());
      const trial = new Trial(t, redis);
      const swarm = trial.start(2);
      const pids = await swarm.ready(2);
      await registered(redis, trial, swarm);
      for (const erase of [
        () => redis.client.del(`swarm:{${trial.namespace}}:masters`),
        () => redis.client.flushall().then(() => redis.client.script('FLUSH')),
      ]) {
        const erasedAtMs = Date.now();
        await erase();
        await registered(redis, trial, swarm);
        t.diagnostic(`rebuilt after ${Date.now() - erasedAtMs} ms`);
      }
      await trial.addMany(6, { ms: 10 });
      await trial.nothingLost(new Map([[swarm, 2]]));
      assert.deepEqual([...swarm.children.values()].sort(), [...pids].sort());
    },
  );
});

async function persistent(t: TestContext): Promise<{ redis: TestRedis; trial: Trial }> {
  const redis = await startRedis(['--appendonly', 'yes']);
  const trial = new Trial(t, redis);
  t.after(() => redis.close());
  return { redis, trial };
}

/** Kills Redis, does something meanwhile, and brings it back. */
async function outage(redis: TestRedis, downMs: number, meanwhile: () => void): Promise<number> {
  await redis.stop('SIGKILL');
  // how long it lasts is the fault itself
  await delay(1_000);
  meanwhile();
  await delay(downMs - 1_000);
  await redis.start();
  return Date.now();
}

async function registered(redis: TestRedis, trial: Trial, swarm: Swarm): Promise<void> {
  const { identity } = await swarm.line('starting');
  const masters = `swarm:{${trial.namespace}}:masters`;
  await waitFor(
    'the master is registered',
    async () => (await redis.client.zscore(masters, String(identity))) !== null,
    { timeoutMs: 7_000 },
  );
}
