/** Faults 1 and 22: children that are killed, and what their jobs had started. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { completed } from '../support/jobs.js';
import { isAlive } from '../support/processes.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import type { Swarm } from '../support/swarm.js';
import { fullIt } from '../support/tier.js';
import { Trial } from '../support/trial.js';
import { waitFor } from '../support/wait.js';

describe('a child is killed', { concurrency: 3 }, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  it('in a job: the job runs elsewhere at once, uncharged', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2);
    await swarm.ready(2);
    const id = await trial.add({ first: { ms: 600_000 } }, { attempts: 1 });
    const victim = await trial.runs(id);

    const killedAtMs = Date.now();
    process.kill(victim.pid, 'SIGKILL');
    const exited = await swarm.line('exited', { pid: victim.pid }, { everyMs: 2 });
    const next = await trial.runs(id, 2);

    const seenAfterMs = Date.parse(exited.time) - killedAtMs;
    t.diagnostic(`seen after ${seenAfterMs} ms, running elsewhere after ${next.atMs - killedAtMs} ms`);
    assert.notEqual(next.pid, victim.pid);
    assert.ok(seenAfterMs < 1_000, `seen after ${seenAfterMs} ms`);
    assert.ok(next.atMs - killedAtMs < 3_000, `runs again after ${next.atMs - killedAtMs} ms`);
    assert.equal(exited['cause'], 'signal');
    assert.equal(exited['signal'], 'SIGKILL');
    const released = await swarm.line('released', {});
    assert.equal(released['jobs'], `${trial.queue.name}/${id}`);

    await trial.nothingLost(new Map([[swarm, 2]]));
    assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
  });

  fullIt('in every slot at once, with several jobs each: all of them run again', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2, { env: { APP_CONCURRENCY: '3' } });
    const pids = await swarm.ready(2);
    const ids = await trial.addMany(6, { first: { ms: 600_000 } });
    for (const id of ids) await trial.runs(id);

    for (const pid of pids) process.kill(pid, 'SIGKILL');
    for (const id of ids) await trial.runs(id, 2);

    await trial.nothingLost(new Map([[swarm, 2]]));
    for (const id of ids) assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
  });

  fullIt('with grandchildren: what its job started goes with it', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2);
    await swarm.ready(2);
    const id = await trial.add({ first: { grandchildren: true, ms: 600_000 } });
    const victim = await trial.runs(id);
    const group = await groupOf(swarm, victim.pid, 4);

    process.kill(victim.pid, 'SIGKILL');
    await gone(group);
    await trial.nothingLost(new Map([[swarm, 2]]));
  });

  fullIt('by an error of its own: what its job started goes too', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1);
    await swarm.ready(1);
    const id = await trial.add({ first: { grandchildren: true, crash: true, ms: 600_000 } });
    const { pid } = await trial.runs(id);
    await swarm.line('exited', { pid, cause: 'uncaught' });
    await gone(membersOf(swarm, pid));
    await trial.nothingLost(new Map([[swarm, 1]]));
  });

  fullIt('not at all, and told to stop: what its jobs had started goes too', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1);
    await swarm.ready(1);
    const id = await trial.add({ grandchildren: true });
    const { pid } = await trial.runs(id);
    await completed(trial.queue, 1);
    const group = await groupOf(swarm, pid, 4);
    assert.equal(await swarm.stop(), 0);
    await gone(group);
    await trial.nothingLost(new Map());
  });
});

function membersOf(swarm: Swarm, pgrp: number): number[] {
  return swarm.processes.filter((each) => each.pgrp === pgrp).map(({ pid }) => pid);
}

/** The whole process group of a child, once it has so many members. */
async function groupOf(swarm: Swarm, pid: number, size: number): Promise<number[]> {
  return waitFor(`the group of ${pid} has ${size} members`, () => {
    const members = membersOf(swarm, pid);
    return members.length === size ? members : null;
  });
}

async function gone(pids: readonly number[]): Promise<void> {
  await waitFor(`all of ${pids.join(' ')} are gone`, () => !pids.some(isAlive), { timeoutMs: 5_000 });
}
