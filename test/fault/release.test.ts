/** A dead child's jobs are put back whatever stands in the way: faults 18 and 40, releasers that die, lost replies. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { completed, running, tokenOf } from '../support/jobs.js';
import { startLossyProxy } from '../support/lossy-proxy.js';
import { factsOf } from '../support/processes.js';
import { GatedJob, project, startSwarm, useQueue } from '../support/programs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { Trial } from '../support/trial.js';
import { isAlive, waitFor } from '../support/wait.js';

const FOREVER = { first: { ms: 600_000 } };

describe('the jobs of a dead child', { concurrency: 3 }, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  it('are released when Redis is back, if it was down at the death', async (t) => {
    const own = await startRedis(['--appendonly', 'yes', '--appendfsync', 'always']);
    t.after(() => own.close());
    const trial = new Trial(t, own);
    const swarm = trial.start(2, { env: { APP_CONCURRENCY: '2' } });
    await swarm.ready(2);
    const ids = await trial.addMany(4, FOREVER);
    const victims = new Map<number, string[]>();
    for (const id of ids) {
      const { pid } = await trial.runs(id);
      victims.set(pid, [...(victims.get(pid) ?? []), id]);
    }
    const [[victim = 0, held = []] = []] = victims;

    await own.stop();
    process.kill(victim, 'SIGKILL');
    await swarm.line('exited', { pid: victim });
    // its replacement comes up without a Redis, and the sibling is asked more than once
    await waitFor('a replacement is spawned', () => swarm.spawnedPids.length > 2);
    assert.equal(swarm.all('released').length, 0);
    await own.start();
    const backAtMs = Date.now();
    for (const id of held) t.diagnostic(`runs again ${(await trial.runs(id, 2)).atMs - backAtMs} ms after`);
    for (const pid of victims.keys()) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
    await trial.nothingLost(new Map([[swarm, 2]]), { timeoutMs: 40_000 });
    for (const id of held) assert.equal((await trial.counters(id)).attempts, 1);
    const blames = await Promise.all(ids.map((id) => own.client.hget(trial.queue.toKey(id), 'swarmShared')));
    assert.deepEqual(
      blames,
      ['1', '1', '1', '1'],
      'each death is counted once, however often it was asked for',
    );
  });

  it('are released by another when the sibling dies in it', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2);
    await swarm.ready(2);
    const ids = await trial.addMany(2, FOREVER);
    const [owner, sibling] = [await trial.runs(ids[0] as string), await trial.runs(ids[1] as string)];
    // it is asked, and can neither answer nor refuse
    process.kill(sibling.pid, 'SIGSTOP');
    await waitFor('the sibling stands still', () => factsOf(sibling.pid)?.state === 'T');
    process.kill(owner.pid, 'SIGKILL');
    await swarm.line('exited', { pid: owner.pid });
    process.kill(sibling.pid, 'SIGKILL');
    for (const id of ids) await trial.runs(id, 2, { timeoutMs: 30_000 });
    await trial.nothingLost(new Map([[swarm, 2]]));
    for (const id of ids) assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
  });

  it('are released by another when the sibling is silent, which may answer late', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2);
    await swarm.ready(2);
    const ids = await trial.addMany(2, FOREVER);
    const [owner, sibling] = [await trial.runs(ids[0] as string), await trial.runs(ids[1] as string)];
    process.kill(sibling.pid, 'SIGSTOP');
    await waitFor('the sibling stands still', () => factsOf(sibling.pid)?.state === 'T');
    process.kill(owner.pid, 'SIGKILL');
    await trial.runs(ids[0] as string, 2, { timeoutMs: 30_000 });
    process.kill(sibling.pid, 'SIGCONT');
    process.kill(sibling.pid, 'SIGKILL');
    await trial.nothingLost(new Map([[swarm, 2]]));
    for (const id of ids) assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
    assert.equal(swarm.all('released', { jobs: `${trial.queue.name}/${ids[0]}` }).length, 1);
  });

  it('with a priority are seen at once by an idle sibling', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2);
    await swarm.ready(2);
    const id = await trial.add(FOREVER, { priority: 3 });
    const { pid } = await trial.runs(id);
    const killedAtMs = Date.now();
    process.kill(pid, 'SIGKILL');
    const again = await trial.runs(id, 2);
    t.diagnostic(`runs again after ${again.atMs - killedAtMs} ms`);
    assert.ok(again.atMs - killedAtMs < 2_500, `after ${again.atMs - killedAtMs} ms`);
    await trial.nothingLost(new Map([[swarm, 2]]));
  });

  it('wait for a Worker that the program starts late', async (t) => {
    const modules = { bullmq: 'bullmq' };
    const app = join(
      await project(t, { 'late-worker.mjs': { app: 'late-worker.mjs' } }, modules),
      'late-worker.mjs',
    );
    const queue = useQueue(t, redis, 'delayed-late');
    const swarm = startSwarm(t, app, { redis, queue: 'delayed', args: ['--count', '1'] });
    await swarm.ready(1);
    const job = await GatedJob.add(t, queue);
    const pid = await job.runner();
    process.kill(pid, 'SIGKILL');
    const next = await job.runner(pid);
    assert.notEqual(next, pid);
    assert.equal((await job.read()).attemptsMade, 0);
    await job.open();
    await job.result();
    assert.equal(
      swarm.all('cannot release: no child works for these queues; their jobs wait for the stalled check')
        .length,
      0,
    );
  });
});

describe('a job that has two owners', () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  it('gets one final state, and a debug line about the stale one', async (t) => {
    const trial = new Trial(t, redis);
    const options = { lockDuration: 1_000, stalledInterval: 500, maxStalledCount: 5 };
    const env = { APP_WORKER_OPTIONS: JSON.stringify(options) };
    const swarm = trial.start(2, { env, args: ['--log-level', 'debug'] });
    await swarm.ready(2);
    const id = await trial.add({ first: { ms: 4_000 } });
    const stale = await trial.runs(id);
    process.kill(stale.pid, 'SIGSTOP');
    t.after(() => isAlive(stale.pid) && process.kill(stale.pid, 'SIGCONT'));
    const fresh = await trial.runs(id, 2);
    assert.notEqual(fresh.pid, stale.pid);
    await completed(trial.queue, 1);
    process.kill(stale.pid, 'SIGCONT');
    const name = `${trial.queue.name}/${id}`;
    const line = await swarm.line(
      `job ${name} ended here after it was no longer ours: its result is not kept`,
    );
    assert.deepEqual([line.level, line.pid], ['debug', stale.pid]);
    await trial.nothingLost(new Map([[swarm, 2]]));
    assert.deepEqual((await trial.queue.getJob(id))?.returnvalue, {
      pid: fresh.pid,
      slot: String(fresh.slot),
      starts: 2,
    });
  });
});

describe('a job whose fetch was carried out, but never answered', { concurrency: 3 }, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  for (const major of [6, 5] as const) {
    it(`is given back after the reconnect, on bullmq ${major}`, async (t) => {
      const trial = new Trial(t, redis, { major });
      const proxy = await startLossyProxy(t, redis.port);
      const swarm = trial.start(1, {
        app: await workerOn(t, major),
        env: { QUEUE_REDIS_PORT: String(proxy.port) },
      });
      await swarm.ready(1);
      // moveToActive is the script with 11 keys
      proxy.loseReplyTo(/evalsha\r\n\$40\r\n[0-9a-f]{40}\r\n\$2\r\n11\r\n/);
      const lostAtMs = Date.now();
      const id = await trial.add({});
      await waitFor('the reply is lost', () => proxy.lost === 1);
      const token = await running(redis, trial.queue, id);
      assert.equal(swarm.all(`runs ${id}`).length, 0, 'nobody runs it');
      const { atMs } = await trial.runs(id, 1, { timeoutMs: 15_000 });
      t.diagnostic(`runs ${atMs - lostAtMs} ms after its first fetch`);
      assert.notEqual(await tokenOf(redis, trial.queue, id), token);
      await swarm.line(`given back, they were active and nobody ran them: ${trial.queue.name}/${id}`);
      await trial.nothingLost(new Map([[swarm, 1]]));
      assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
    });
  }

  it('leaves jobs alone that run through a reconnect', async (t) => {
    const trial = new Trial(t, redis);
    const proxy = await startLossyProxy(t, redis.port);
    const swarm = trial.start(1, { env: { QUEUE_REDIS_PORT: String(proxy.port), APP_CONCURRENCY: '3' } });
    await swarm.ready(1);
    const ids = await trial.addMany(3, { ms: 4_000 });
    for (const id of ids) await trial.runs(id);
    proxy.cut();
    await trial.nothingLost(new Map([[swarm, 1]]));
    for (const id of ids) assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 1, stalled: 0 });
  });
});

async function workerOn(t: TestContext, major: 5 | 6): Promise<string> {
  const app = 'fault-worker.mjs';
  return join(await project(t, { [app]: { app } }, { bullmq: major === 6 ? 'bullmq' : 'bullmq5' }), app);
}
