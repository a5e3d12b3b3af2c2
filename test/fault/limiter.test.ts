/** Leases of limiters whose holder dies: free with the release of its jobs. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { Limiter } from 'bullmq-swarm/limiter';
import { startRedis, type TestRedis } from '../support/redis.js';
import { Trial } from '../support/trial.js';
import { waitFor } from '../support/wait.js';

describe('a child that holds leases', { concurrency: 2 }, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
    Limiter.connect(redis.client);
  });
  after(async () => {
    await Limiter.close();
    await redis.close();
  });

  it('is killed: they are free at once, and its places in the queue too', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2, { app: 'limit-app.mjs', args: ['-c', '1'] });
    await swarm.ready(2);
    const limiter = Limiter.concurrent(`l-${randomBytes(4).toString('hex')}`, 1, { waitTimeoutMs: 60_000 });
    const other = `l-${randomBytes(4).toString('hex')}`;
    const id = await trial.add({ limiter: limiter.name, ms: 600_000 });
    const victim = await trial.runs(id);
    await swarm.line(`within ${id}`);
    // the other child is at work, too, and goes on
    await trial.add({ limiter: other, ms: 1 });

    const next = limiter.withinLimit(() => performance.now());
    await waitFor('the next waits', async () => (await limiter.status()).waiting === 1);
    const killedAtMs = performance.now();
    process.kill(victim.pid, 'SIGKILL');
    const freeAfterMs = (await next) - killedAtMs;
    t.diagnostic(`free ${freeAfterMs.toFixed(0)} ms after the kill`);
    assert.ok(freeAfterMs < 3_000, `free after ${freeAfterMs} ms`);
    const freed = await swarm.line('leases freed', { leases: 1 });
    assert.match(String(freed['owner']), new RegExp(`:${victim.pid}:`));

    // the job runs again, in its turn
    await trial.runs(id, 2);
    await swarm.line(`within ${id}`, {}, { nth: 2 });
    assert.equal((await limiter.status()).held, 1);
    assert.equal((await limiter.status()).reclaimed, 1);
  });

  it('is killed, and no sibling has used a limiter yet: one opens a connection for it', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2, { app: 'limit-worker.mjs' });
    await swarm.ready(2);
    const limiter = Limiter.concurrent(`l-${randomBytes(4).toString('hex')}`, 1, { waitTimeoutMs: 60_000 });
    const id = await trial.add({ limiter: limiter.name, ms: 600_000 });
    const victim = await trial.runs(id);
    await swarm.line(`within ${id}`);
    process.kill(victim.pid, 'SIGKILL');
    await swarm.line('leases freed', { leases: 1 });
    await swarm.line(`within ${id}`, {}, { nth: 2 });
    assert.equal((await limiter.status()).reclaimed, 1);
  });

  it('is the only one: they are free when its replacement is there', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1, { app: 'limit-app.mjs' });
    await swarm.ready(1);
    const limiter = Limiter.concurrent(`l-${randomBytes(4).toString('hex')}`, 1, { waitTimeoutMs: 60_000 });
    const id = await trial.add({ limiter: limiter.name, ms: 600_000 });
    const victim = await trial.runs(id);
    await swarm.line(`within ${id}`);
    process.kill(victim.pid, 'SIGKILL');
    await swarm.line('leases freed', { leases: 1 });
    await swarm.line(`within ${id}`, {}, { nth: 2 });
  });

  it('leaves while its job goes on: they are free before its lock times out', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1, { app: 'limit-app.mjs', args: ['--timeout', '200ms'] });
    await swarm.ready(1);
    const limiter = Limiter.concurrent(`l-${randomBytes(4).toString('hex')}`, 1, { waitTimeoutMs: 60_000 });
    const id = await trial.add({ limiter: limiter.name, ms: 600_000 });
    await swarm.line(`within ${id}`);
    const stoppedAtMs = performance.now();
    assert.equal(await swarm.stop(), 0);
    await limiter.withinLimit(() => {});
    assert.ok(performance.now() - stoppedAtMs < 20_000, 'not only after 30 s');
    assert.equal((await limiter.status()).held, 0);
  });
});
