/** Faults 2 and 3: the master is killed; its children go, and its successor puts back what they held. */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import type { DeathRecord } from '../../packages/swarm/dist/death.js';
import { completed, noneActive, tokenOf } from '../support/jobs.js';
import { isAlive } from '../support/processes.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { appPath } from '../support/swarm.js';
import { fullIt } from '../support/tier.js';
import { Trial } from '../support/trial.js';
import { waitFor } from '../support/wait.js';

describe('the master is killed', { concurrency: 3 }, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  fullIt('its idle children go', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2);
    const pids = await swarm.ready(2);
    const killedAtMs = Date.now();
    swarm.kill('SIGKILL');
    await gone(t, pids, killedAtMs, 3_000);
    await succeeded(trial, 1);
  });

  fullIt('a busy child ends its job before it goes', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1, { args: ['--timeout', '20s'] });
    const [pid = 0] = await swarm.ready(1);
    const id = await trial.add({ ms: 1_500 });
    const token = await runningAs(trial, id);
    const killedAtMs = Date.now();
    swarm.kill('SIGKILL');
    assert.equal(await tokenOf(redis, trial.queue, id), token);
    await gone(t, [pid], killedAtMs, 10_000);
    const job = await trial.queue.getJob(id);
    assert.deepEqual(job?.returnvalue, { pid, slot: '0', starts: 1 });
    await succeeded(trial, 1);
  });

  fullIt('a job longer than the budget is handed back by the child that goes', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1, { args: ['--timeout', '500ms'] });
    const pids = await swarm.ready(1);
    const id = await trial.add({ first: { ms: 600_000, grandchildren: true } });
    await trial.runs(id);
    const killedAtMs = Date.now();
    swarm.kill('SIGKILL');
    await gone(t, pids, killedAtMs, 10_000);
    assert.equal(await trial.queue.getJobState(id), 'waiting');
    await waitFor('what the job started is gone too', () => swarm.processes.length === 0);
    await succeeded(trial, 1);
    assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
  });

  it('a child in for(;;) is gone too, and its job is released by the successor', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1);
    const [pid = 0] = await swarm.ready(1);
    const id = await trial.add({ first: { spin: true } });
    await trial.runs(id);
    const killedAtMs = Date.now();
    swarm.kill('SIGKILL');
    await gone(t, [pid], killedAtMs, 8_000);
    assert.equal(await trial.queue.getJobState(id), 'active');
    await succeeded(trial, 1);
    assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
  });

  fullIt('with all its children: a successor on the host releases their jobs', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2, { env: { APP_CONCURRENCY: '2' } });
    await swarm.ready(2);
    const ids = await trial.addMany(4, { first: { ms: 600_000 } });
    for (const id of ids) await trial.runs(id);
    for (const pid of [swarm.pid, ...swarm.children.values()].map((pid, at) => (at === 0 ? pid : -pid))) {
      process.kill(pid, 'SIGKILL');
    }
    await waitFor('nobody is left', () => swarm.processes.length === 0);
    assert.equal(await trial.queue.getActiveCount(), 4);

    const startedAtMs = Date.now();
    const successor = trial.start(2, { env: { APP_CONCURRENCY: '2' } });
    const again = await Promise.all(ids.map((id) => trial.runs(id, 2)));
    const ready = await successor.line('ready');
    const lastAtMs = Math.max(...again.map(({ atMs }) => atMs));
    t.diagnostic(
      `all run again ${lastAtMs - Date.parse(ready.time)} ms after ready, ${lastAtMs - startedAtMs} after the start`,
    );
    await noneActive(trial.queue);
    await trial.nothingLost(new Map([[successor, 2]]));
    for (const id of ids) assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
    const deaths = await waitFor('both deaths are on record', async () => {
      const { stdout } = await trial.command('deaths', '--json');
      const records = JSON.parse(stdout) as DeathRecord[];
      return records.length === 2 ? records : null;
    });
    assert.deepEqual(
      deaths.map(({ cause }) => cause),
      ['master-died', 'master-died'],
    );
    const held = deaths.flatMap(({ jobs }) => jobs);
    assert.deepEqual(held.map(({ id }) => id).toSorted(), ids.toSorted());
    assert.ok(held.every(({ outcome }) => outcome === 'released'));
  });

  it('before its child could hear of it: the child goes all the same', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1, { args: [`--node-arg=--import=${appPath('wait-for-orphanage.mjs')}`] });
    const { pid = 0 } = await swarm.line('spawned');
    const killedAtMs = Date.now();
    swarm.kill('SIGKILL');
    await gone(t, [pid], killedAtMs, 30_000);
    await succeeded(trial, 1);
  });

  fullIt('while a child still drains: the successor leaves it its job', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1, { args: ['--timeout', '20s'] });
    const [pid = 0] = await swarm.ready(1);
    const id = await trial.add({ ms: 4_000 });
    const token = await runningAs(trial, id);
    swarm.kill('SIGKILL');
    const successor = trial.start(1);
    await successor.ready(1);
    await successor.line('a master that ran on this host left jobs behind; they are released');
    if (isAlive(pid)) assert.equal(await tokenOf(redis, trial.queue, id), token);
    await completed(trial.queue, 1);
    assert.deepEqual((await trial.queue.getJob(id))?.returnvalue, { pid, slot: '0', starts: 1 });
    await trial.nothingLost(new Map([[successor, 1]]));
  });
});

/** The token of a job whose run has begun: one that was only fetched is put back by a child that goes. */
async function runningAs(trial: Trial, id: string): Promise<string | null> {
  await trial.runs(id);
  return tokenOf(trial.redis, trial.queue, id);
}

async function gone(
  t: TestContext,
  pids: readonly number[],
  sinceMs: number,
  withinMs: number,
): Promise<void> {
  await waitFor(`the children ${pids.join(' ')} are gone`, () => !pids.some(isAlive), {
    timeoutMs: withinMs,
    everyMs: 5,
  });
  t.diagnostic(`gone after ${Date.now() - sinceMs} ms`);
}

/** A new master of the same app ends all jobs, and its predecessor is forgotten. */
async function succeeded(trial: Trial, children: number): Promise<void> {
  const successor = trial.start(children);
  await successor.ready(children);
  await trial.nothingLost(new Map([[successor, children]]));
}
