/** Faults 7, 9 and 30: a child whose loop does not turn, and ones that only seem so. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startRedis, type TestRedis } from '../support/redis.js';
import { Trial } from '../support/trial.js';

const LIMITS = ['--stuck-after', '2s', '--stuck-kill-after', '5s'];

describe('a child whose loop does not turn', { concurrency: 2 }, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  it('is reported, killed for it, and its job runs again', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1, { args: LIMITS });
    await swarm.ready(1);
    const id = await trial.add({ first: { spin: true } });
    const { pid } = await trial.runs(id);
    const stuck = await swarm.line('stuck', { pid });
    assert.equal(stuck['kind'], 'running');
    const killed = await swarm.line('kill', { pid });
    assert.equal(killed['reason'], 'stuck');
    const exited = await swarm.line('exited', { pid });
    assert.equal(exited['cause'], 'stuck');
    await trial.nothingLost(new Map([[swarm, 1]]));
  });

  it('because it is stopped: told apart, and killed all the same', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1, { args: LIMITS });
    const [pid] = await swarm.ready(1);
    const id = await trial.add({ first: { ms: 600_000 } });
    await trial.runs(id);
    process.kill(pid as number, 'SIGSTOP');
    const stuck = await swarm.line('stuck', { pid: pid as number });
    assert.equal(stuck['kind'], 'stopped');
    const exited = await swarm.line('exited', { pid: pid as number });
    assert.equal(exited['cause'], 'stuck');
    await trial.nothingLost(new Map([[swarm, 1]]));
  });

  it('for less than it takes to be killed: goes on', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1, { args: ['--stuck-after', '2s', '--stuck-kill-after', '60s'] });
    const [pid] = await swarm.ready(1);
    process.kill(pid as number, 'SIGSTOP');
    await swarm.line('stuck', { pid: pid as number, kind: 'stopped' });
    await delay(1_000);
    process.kill(pid as number, 'SIGCONT');
    await trial.add({ ms: 10 });
    await trial.nothingLost(new Map([[swarm, 1]]));
    assert.deepEqual(swarm.all('kill'), []);
  });
});
