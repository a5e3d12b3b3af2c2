/** Faults 10 and 30: the master alone, or everything, is stopped for 10 s and goes on. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { completed } from '../support/jobs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { Trial } from '../support/trial.js';

const STOPPED_MS = 10_000;
const TILT = 'the clock jumped, or this process was stopped: all deadlines moved';

describe('stopped for 10 s', { concurrency: 3 }, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  it('the master alone: its children work on, and on its return it kills nobody', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2);
    const pids = await swarm.ready(2);
    await trial.addMany(4, { ms: 200 });
    swarm.kill('SIGSTOP');
    await completed(trial.queue, 4);
    await delay(STOPPED_MS);
    await trial.addMany(2, { ms: 10 });
    await completed(trial.queue, 6);
    swarm.kill('SIGCONT');
    await swarm.line(TILT);
    await trial.addMany(2, { ms: 10 });
    await trial.nothingLost(new Map([[swarm, 2]]));
    assert.deepEqual([...swarm.children.values()].sort(), [...pids].sort());
    assert.deepEqual(swarm.all('kill'), []);
  });

  it('everything, while the children boot: their deadlines move', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2, { args: ['--boot-timeout', '9s'] });
    await swarm.line('spawned', {}, { nth: 2 });
    const everything = [swarm.pid, ...swarm.spawnedPids];
    for (const pid of everything) process.kill(pid, 'SIGSTOP');
    await delay(STOPPED_MS);
    for (const pid of everything) process.kill(pid, 'SIGCONT');
    await swarm.line(TILT);
    await swarm.ready(2);
    assert.equal(swarm.spawnedPids.length, 2);
    await trial.nothingLost(new Map([[swarm, 2]]));
  });

  it('the master, while its children stop: their deadlines move', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1, { args: ['--timeout', '5s'] });
    await swarm.ready(1);
    await trial.runs(await trial.add({ ms: 3_000 }));
    swarm.kill('SIGTERM');
    await swarm.line('draining');
    swarm.kill('SIGSTOP');
    await delay(STOPPED_MS);
    swarm.kill('SIGCONT');
    assert.equal(await swarm.exited(), 0);
    assert.deepEqual(swarm.all('kill'), []);
    await trial.nothingLost(new Map());
  });

  it('everything, as by a suspend: all of it goes on', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2);
    const pids = await swarm.ready(2);
    const ids = await trial.addMany(2, { ms: 2_000 });
    for (const id of ids) await trial.runs(id);
    const everything = [swarm.pid, ...pids];
    for (const pid of everything) process.kill(pid, 'SIGSTOP');
    await delay(STOPPED_MS);
    for (const pid of everything) process.kill(pid, 'SIGCONT');
    await trial.addMany(2, { ms: 10 });
    await trial.nothingLost(new Map([[swarm, 2]]));
    assert.deepEqual([...swarm.children.values()].sort(), [...pids].sort());
    for (const id of ids) assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 1, stalled: 0 });
  });
});
