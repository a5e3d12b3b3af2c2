/** Fault 4: a job that kills its process every time. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { project } from '../support/programs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import type { Swarm } from '../support/swarm.js';
import { IS_LONG, MAJORS } from '../support/tier.js';
import { Trial } from '../support/trial.js';
import { waitFor } from '../support/wait.js';

describe('a job that kills its process every time', { concurrency: 3 }, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  for (const major of IS_LONG ? ([6, 5] as const) : ([5] as const)) {
    it(`alone, in an unmodified program on bullmq ${major}: is quarantined at the third death`, async (t) => {
      const trial = new Trial(t, redis, { major });
      const swarm = trial.start(2, { app: await appOn(t, major, 'fault-worker.mjs') });
      await swarm.ready(2);
      const id = await trial.add({ crash: true, ms: 600_000 }, { attempts: 5 });
      const reason = await quarantined(trial, swarm, id);
      const time = String.raw`\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ`;
      const deaths = Array.from({ length: 3 }, () => `uncaught ${time}`).join(', ');
      assert.match(
        reason,
        new RegExp(`^quarantined: its process died 3 times while it ran alone: ${deaths}$`),
      );
      assert.equal(swarm.all(`runs ${id}`).length, 3);
      assert.equal(swarm.all(`failed ${id}: ${reason}`).length, 1, 'the app is told');
      assert.deepEqual(await blameOf(trial, id), { exact: 3, shared: 0 });
      await trial.nothingLost(new Map([[swarm, 2]]));
      assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 3, stalled: 0 });
    });
  }

  for (const major of MAJORS) {
    it(`among others, in a swarm app on bullmq ${major}: it alone is quarantined`, async (t) => {
      const trial = new Trial(t, redis, { major });
      const swarm = trial.start(2, { app: await appOn(t, major, 'fault-app.mjs') });
      await swarm.ready(2);
      const killers: string[] = [];
      for (let at = 0; at < 16; at += 1) {
        const id = await trial.add(at % 8 === 1 ? { killAfterMs: 300, ms: 600_000 } : { ms: 400 + at * 20 });
        if (at % 8 === 1) killers.push(id);
      }
      for (const id of killers) await quarantined(trial, swarm, id);
      await trial.nothingLost(new Map([[swarm, 2]]), { timeoutMs: 30_000 });

      assert.deepEqual((await trial.queue.getFailed()).map(({ id }) => id).toSorted(), killers.toSorted());
      const beside = trial.ids.filter((id) => !killers.includes(id));
      const blames = await Promise.all(beside.map((id) => blameOf(trial, id)));
      assert.ok(
        blames.every(({ exact }) => exact === 0),
        'nobody else was alone at a death',
      );
      assert.ok(
        blames.some(({ shared }) => shared > 0),
        'some of them sat beside it',
      );
      assert.ok(
        blames.every(({ shared }) => shared <= killers.length),
        JSON.stringify(blames),
      );
      for (const id of killers) assert.equal((await blameOf(trial, id)).exact, 3);
      assert.deepEqual(besideSuspects(swarm), []);
      t.diagnostic(`runs: ${trial.ids.map((id) => swarm.all(`runs ${id}`).length).join(' ')}`);
    });
  }

  it('always among others, in an unmodified program: is quarantined at the tenth death that it shares', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(4, { env: { APP_CONCURRENCY: '5' } });
    await swarm.ready(4);
    const killer = await trial.add({ killBesideOthers: true, ms: 600_000 });
    // always company, but never the same for long
    const company = setInterval(() => void trial.addMany(4, { ms: 100 }), 100);
    t.after(() => clearInterval(company));
    const reason = await quarantined(trial, swarm, killer);
    clearInterval(company);
    assert.match(
      reason,
      /^quarantined: its process died 10 times while it ran among others: signal SIGKILL /,
    );
    assert.equal(reason.split('signal SIGKILL').length - 1, 10, reason);
    await trial.nothingLost(new Map([[swarm, 4]]), { timeoutMs: 40_000 });
    assert.equal(await trial.queue.getFailedCount(), 1);
    assert.equal(swarm.all(`runs ${killer}`).length, 10);
  });

  it('is never quarantined when that is off', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2, { args: ['--quarantine-after', 'off'] });
    await swarm.ready(2);
    const id = await trial.add({ crash: true, ms: 600_000 });
    await trial.runs(id, 5, { timeoutMs: 60_000 });
    assert.notEqual(await trial.queue.getJobState(id), 'failed');
    assert.ok((await blameOf(trial, id)).exact >= 4);
  });
});

/** The program in a project that has this bullmq. */
async function appOn(t: TestContext, major: 5 | 6, app: string): Promise<string> {
  const modules = { bullmq: major === 6 ? 'bullmq' : 'bullmq5', 'bullmq-swarm': 'bullmq-swarm' };
  return join(await project(t, { [app]: { app } }, modules), app);
}

/** Waits until the job is failed for its blame, and the log says so; its reason. */
async function quarantined(trial: Trial, swarm: Swarm, id: string): Promise<string> {
  const name = `${trial.queue.name}/${id}`;
  await waitFor(
    `job ${id} is quarantined\n`,
    () => swarm.all('quarantined').some(({ jobs }) => String(jobs).split(' ').includes(name)),
    { timeoutMs: 60_000 },
  );
  const job = await trial.queue.getJob(id);
  assert.equal(await job?.getState(), 'failed');
  return job?.failedReason ?? '';
}

async function blameOf(trial: Trial, id: string): Promise<{ exact: number; shared: number }> {
  const [exact, shared] = await trial.redis.client.hmget(trial.queue.toKey(id), 'swarmExact', 'swarmShared');
  return { exact: Number(exact), shared: Number(shared) };
}

/** By the log: who ran beside a job that was started for the second time, and so had been at a death. */
function besideSuspects(swarm: Swarm): string[] {
  const running = new Map<number, Set<string>>();
  const starts = new Map<string, number>();
  const overlaps: string[] = [];
  for (const { message, pid = 0 } of swarm.lines) {
    const [, what, id = ''] = /^(runs|ends) (\d+)$/.exec(message) ?? [];
    const jobs = running.get(pid) ?? new Set();
    running.set(pid, jobs);
    if (what === 'ends') jobs.delete(id);
    if (what !== 'runs') continue;
    starts.set(id, (starts.get(id) ?? 0) + 1);
    const isSuspect = [id, ...jobs].some((job) => (starts.get(job) ?? 0) > 1);
    if (isSuspect && jobs.size > 0) overlaps.push(`${id} beside ${[...jobs].join(' ')} in ${pid}`);
    jobs.add(id);
  }
  return overlaps;
}
