/**
 * Faults 19 and 20 with the default budget, as a platform stops a dyno: TERM to every process at once,
 * several times, and KILL after 30 s.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startRedis, type TestRedis } from '../support/redis.js';
import { Trial } from '../support/trial.js';

/** `end()`: for how long this process was kept from its own timers until now, which another process is as well; ms. */
function measureStandstill(): { end(): number } {
  const everyMs = 50;
  let lastMs = performance.now();
  let stoodMs = 0;
  const timer = setInterval(() => {
    const nowMs = performance.now();
    stoodMs += Math.max(nowMs - lastMs - everyMs, 0);
    lastMs = nowMs;
  }, everyMs);
  return {
    end: () => {
      clearInterval(timer);
      return Math.round(stoodMs);
    },
  };
}

describe('TERM to every process at once, three times', () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  it('is one stop, which ends before the platform would kill', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2);
    const pids = await swarm.ready(2);
    const long = await trial.add({ first: { ms: 600_000 } });
    const medium = await trial.add({ ms: 6_000 });
    for (const id of [long, medium]) await trial.runs(id);

    const stood = measureStandstill();
    t.after(() => stood.end());
    const askedAtMs = Date.now();
    for (let round = 0; round < 3; round += 1) {
      for (const { pid } of swarm.processes) process.kill(pid, 'SIGTERM');
      // the distances are the fault's own: anything may come
      await delay(Math.random() * 3_000);
    }
    assert.equal(await swarm.exited(), 0);
    const tookMs = Date.now() - askedAtMs;
    const stoodMs = stood.end();
    t.diagnostic(`stopped after ${tookMs} ms; meanwhile this machine stood still for ${stoodMs} ms`);
    assert.ok(tookMs >= 25_000, `the long job was not given its time: ${tookMs} ms`);
    assert.ok(
      tookMs - stoodMs < 30_000,
      `KILL would have come: ${tookMs} ms, ${stoodMs} of them stood still`,
    );

    assert.equal(swarm.all('stopping').length, 1);
    for (const pid of pids) {
      assert.equal(swarm.all('draining', { pid }).length, 1);
      assert.equal(swarm.all('exited', { pid, cause: 'stopped' }).length, 1);
    }
    assert.equal(await trial.queue.getJobState(medium), 'completed');
    assert.equal(await trial.queue.getJobState(long), 'waiting');

    const next = trial.start(1);
    await trial.nothingLost(new Map([[next, 1]]));
    assert.deepEqual(await trial.counters(long), { attempts: 1, starts: 2, stalled: 0 });
    assert.deepEqual(await trial.counters(medium), { attempts: 1, starts: 1, stalled: 0 });
  });
});
