/** Fault 41: a host is lost with everything on it, and masters on other hosts release what it held. */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import type { DeathRecord } from '../../packages/swarm/dist/death.js';
import { noneActive, running, tokenOf } from '../support/jobs.js';
import { openLink } from '../support/link.js';
import { otherHost, SHARED_LOOPBACK, whyNoOtherHost } from '../support/other-host.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import type { Swarm, SwarmOptions } from '../support/swarm.js';
import { longIt } from '../support/tier.js';
import { Trial } from '../support/trial.js';
import { waitFor } from '../support/wait.js';

const LOST = 'a master is lost; its jobs are released once their locks miss a renewal';
const BACK = 'a master that was lost is back, and left alone';
const ACCOUNTED = 'a lost master is accounted for';
/** 15 s until it is stale, some more until that is seen. That it was not BullMQ's own check a count of these says. */
const RELEASED_WITHIN_MS = 90_000;
/** Renewed every 2 s. BullMQ's own check of stalled jobs would come long after the test. */
const SHORT_LOCK = { APP_WORKER_OPTIONS: '{"lockDuration":4000,"stalledInterval":600000}' };
const patient = { timeoutMs: 60_000 };

let redis: TestRedis;
before(async () => {
  redis = await startRedis();
});
after(() => redis.close());

function start(trial: Trial, count: number, options: SwarmOptions = {}): Swarm {
  const env = { QUEUE_REDIS_HOST: SHARED_LOOPBACK, ...options.env };
  return trial.start(count, { ...options, env });
}

/** Jobs of ten minutes, in the hands of a master on another host. */
async function holdOnOtherHost(
  t: TestContext,
  trial: Trial,
  { name = 'host-a', jobs = 2 } = {},
): Promise<{ swarm: Swarm; ids: string[] }> {
  const swarm = start(trial, 2, {
    host: await otherHost(t, name),
    env: { APP_CONCURRENCY: String(jobs / 2) },
  });
  await swarm.ready(2, patient);
  const ids = await trial.addMany(jobs, { first: { ms: 600_000 } });
  for (const id of ids) await trial.runs(id);
  return { swarm, ids };
}

/** Its power is cut. */
function lose(swarm: Swarm): number {
  swarm.kill('SIGKILL');
  return Date.now();
}

/** All run again, each for the second time, uncharged. */
async function runAgain(
  t: TestContext,
  trial: Trial,
  ids: readonly string[],
  sinceMs: number,
): Promise<void> {
  const runs = await Promise.all(ids.map((id) => trial.runs(id, 2, patient))).catch((error: Error) => {
    throw new Error([error.message, ...trial.masters.map((swarm) => swarm.tail())].join('\n\n'));
  });
  const lastMs = Math.max(...runs.map(({ atMs }) => atMs)) - sinceMs;
  t.diagnostic(`all ${ids.length} jobs run again ${(lastMs / 1_000).toFixed(1)} s after the loss`);
  assert.ok(lastMs < RELEASED_WITHIN_MS, `${lastMs} ms`);
  await noneActive(trial.queue);
  for (const id of ids) assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
}

function releasedBy(swarms: readonly Swarm[]): string[] {
  const lines = swarms.flatMap((swarm) => swarm.all('released'));
  return lines.flatMap(({ jobs }) => String(jobs).split(' ')).sort();
}

describe('a lost host', { concurrency: 4, skip: whyNoOtherHost() ?? false }, () => {
  it('its jobs are released by the master of another', async (t) => {
    const trial = new Trial(t, redis);
    const lost = await holdOnOtherHost(t, trial);
    const other = start(trial, 1);
    await other.ready(1, patient);
    const lostAtMs = lose(lost.swarm);
    await runAgain(t, trial, lost.ids, lostAtMs);
    assert.equal((await other.line(ACCOUNTED, {}, patient))['released'], 2);
    const deaths = await waitFor('its children are on record', async () => {
      const records = JSON.parse((await trial.command('deaths', '--json')).stdout) as DeathRecord[];
      return records.length === 2 ? records : null;
    });
    assert.deepEqual(
      deaths.map(({ cause, host }) => [cause, host]),
      Array.from({ length: 2 }, () => ['host-lost', 'host-a']),
    );
    // what it had reported by then
    assert.ok(deaths.flatMap(({ jobs }) => jobs).every(({ outcome }) => outcome === 'released'));
    await trial.nothingLost(new Map([[other, 1]]));
  });

  it('each of its jobs is released once by two masters that both could', async (t) => {
    const trial = new Trial(t, redis);
    const lost = await holdOnOtherHost(t, trial, { jobs: 6 });
    const others = [start(trial, 1), start(trial, 1)];
    for (const swarm of others) await swarm.ready(1, patient);
    const lostAtMs = lose(lost.swarm);
    await runAgain(t, trial, lost.ids, lostAtMs);
    assert.deepEqual(releasedBy(others), lost.ids.map((id) => `${trial.queue.name}/${id}`).sort());
    await waitFor(
      'one of them is done',
      () => others.some((swarm) => swarm.all(ACCOUNTED).length > 0),
      patient,
    );
    assert.equal(others.flatMap((swarm) => swarm.all(LOST)).length, 1, 'only one of them took care of it');
    await trial.nothingLost(new Map(others.map((swarm) => [swarm, 1])));
  });

  longIt(
    'another takes over from the master that was about to release, and releases that one’s jobs too',
    async (t) => {
      const trial = new Trial(t, redis);
      const lost = await holdOnOtherHost(t, trial);
      const others = [start(trial, 1), start(trial, 1)];
      for (const swarm of others) await swarm.ready(1, patient);
      const theirs = await trial.addMany(2, { first: { ms: 600_000 } });
      for (const id of theirs) await trial.runs(id);
      lose(lost.swarm);
      const first = await waitFor(
        'one of them has claimed it',
        () => others.find((swarm) => swarm.all(LOST).length > 0),
        patient,
      );
      const second = others.find((swarm) => swarm !== first) as Swarm;
      const lostAtMs = Date.now();
      for (const pid of [first.pid, ...[...first.children.values()].map((child) => -child)])
        process.kill(pid, 'SIGKILL');
      // its own job goes on, and keeps its only hand busy
      const [own] = theirs.filter((id) => second.all(`runs ${id}`).length > 0);
      const [dead] = theirs.filter((id) => id !== own);
      const [busy = 0] = second.children.values();
      await second.line(LOST, {}, { ...patient, nth: 2 });
      process.kill(busy, 'SIGKILL');
      await runAgain(t, trial, [...lost.ids, dead as string], lostAtMs);
      await trial.nothingLost(new Map([[second, 1]]), { timeoutMs: 60_000 });
    },
  );

  for (const { what, bootId } of [
    { what: 'replaced, as a container is', bootId: null },
    { what: 'booted again', bootId: '11111111-2222-3333-4444-555555555555' },
  ]) {
    it(`under the same name, ${what}: its next master releases its jobs`, async (t) => {
      const trial = new Trial(t, redis);
      const lost = await holdOnOtherHost(t, trial, { name: 'same' });
      const lostAtMs = lose(lost.swarm);
      await waitFor('nobody is left there', () => lost.swarm.processes.length === 0);
      const next = start(trial, 1, { host: await otherHost(t, 'same', bootId) });
      await next.ready(1, patient);
      await runAgain(t, trial, lost.ids, lostAtMs);
      await next.line(ACCOUNTED, {}, patient);
      assert.equal((await trial.command('stop', 'same')).code, 0);
      assert.equal(await next.exited(), 0);
      await trial.nothingLost(new Map());
    });
  }

  longIt('that only lost the registry is left its jobs, and is left alone when it is back', async (t) => {
    const registry = await openLink(redis.port);
    t.after(() => registry.close());
    const trial = new Trial(t, redis);
    const cutOff = start(trial, 1, {
      host: await otherHost(t, 'cut-off'),
      env: SHORT_LOCK,
      args: ['--redis', `redis://127.0.0.1:${registry.port}`],
    });
    await cutOff.ready(1, patient);
    const id = await trial.add({ ms: 45_000 });
    const token = await running(redis, trial.queue, id);
    const other = start(trial, 1, { env: SHORT_LOCK });
    await other.ready(1, patient);
    registry.cut();
    await other.line(LOST, {}, patient);
    await renewed(trial, id, token, 3);
    registry.mend();
    await other.line(BACK, {}, patient);
    assert.equal(await tokenOf(redis, trial.queue, id), token);
    await waitFor('the job ends', async () => (await trial.queue.getJobState(id)) === 'completed', patient);
    assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 1, stalled: 0 });
    assert.deepEqual(releasedBy([other]), []);
    assert.equal((await trial.command('stop', 'cut-off')).code, 0);
    assert.equal(await cutOff.exited(), 0);
    await trial.nothingLost(new Map([[other, 1]]));
  });

  it('that was only suspended, and wakes after its job was taken: the job ends once', async (t) => {
    const trial = new Trial(t, redis);
    const suspended = start(trial, 1, { host: await otherHost(t, 'suspended'), env: SHORT_LOCK });
    await suspended.ready(1, patient);
    const id = await trial.add({ first: { ms: 30_000 } });
    await trial.runs(id);
    const other = start(trial, 1, { env: SHORT_LOCK });
    await other.ready(1, patient);
    // its lock is a short one: it runs out before anybody looks, so only what was reported is known
    await waitFor('a beat with the job', async () => {
      const [key = ''] = await redis.client.keys(`swarm:{${trial.namespace}}:master:suspended:*`);
      return Object.values(await redis.client.hgetall(key)).some((text) => text.includes('"busy":1'));
    });
    const stopped = suspended.processes.map(({ pid }) => pid);
    for (const pid of stopped) process.kill(pid, 'SIGSTOP');
    await other.line(ACCOUNTED, {}, patient);
    assert.deepEqual(releasedBy([other]), [`${trial.queue.name}/${id}`]);
    for (const pid of stopped) process.kill(pid, 'SIGCONT');
    // its run is over by now: it tries to end the job, and goes on with the next
    await waitFor('both are in the registry', async () => {
      return (await redis.client.zcard(`swarm:{${trial.namespace}}:masters`)) === 2;
    });
    assert.equal((await trial.command('stop', 'suspended')).code, 0);
    assert.equal(await suspended.exited(), 0);
    assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
    assert.equal((await trial.queue.getJob(id))?.returnvalue.starts, 2, 'the second run counts');
    await trial.nothingLost(new Map([[other, 1]]));
  });
});

/** Waits until its lock was renewed so many times by the one who has it. */
async function renewed(trial: Trial, id: string, token: string, times: number): Promise<void> {
  const lock = `${trial.queue.toKey(id)}:lock`;
  let lastMs = 0;
  let seen = 0;
  await waitFor(
    `the lock of job ${id} is renewed ${times} times`,
    async () => {
      const leftMs = await redis.client.pttl(lock);
      assert.equal(await redis.client.get(lock), token, 'it was taken');
      if (leftMs > lastMs + 100) seen++;
      lastMs = leftMs;
      return seen > times;
    },
    patient,
  );
}
