/** Fault 39: a child that is up and beats, and takes no job although its queue has some. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { completed } from '../support/jobs.js';
import { openLink } from '../support/link.js';
import { project } from '../support/programs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { StuckTrial } from '../support/stuck-trial.js';
import { MAJORS } from '../support/tier.js';

/** A child looks every 10 s, and is sure after half a minute. */
const SURE = { timeoutMs: 200_000 };

describe('a child that does not consume', { concurrency: 3 }, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  for (const major of MAJORS) {
    it(`because its fetch never returns: is dumped and recycled, on bullmq ${major}`, async (t) => {
      const trial = new StuckTrial(t, redis, { major });
      const modules = { bullmq: major === 6 ? 'bullmq' : 'bullmq5' };
      const directory = await project(t, { 'worker.mjs': { app: 'idle-worker.mjs' } }, modules);
      const swarm = trial.start(1, { app: join(directory, 'worker.mjs') });
      const [pid] = await swarm.ready(1);
      await trial.add({ deafen: true });
      await completed(trial.queue, 1);
      await trial.addMany(3, {});
      const told = await swarm.line('not consuming', { pid: pid as number }, SURE);
      // the marker of the first may have been fetched for before it was deaf
      assert.ok((told['waiting'] as number) >= 2, JSON.stringify(told));
      const dump = await trial.dumpOf(pid as number);
      assert.equal(dump.trigger, 'not-consuming');
      assert.match(
        dump.notes.join(),
        /jobs wait in .* running 0 of 1, begun \d, main loop runs, .* connection ready/,
      );
      await swarm.line('replaced', { detail: 'not-consuming' });
      await trial.nothingLost(new Map([[swarm, 1]]));
      assert.deepEqual(swarm.all('kill'), []);
    });
  }

  it('because nobody answers on its connection: a sibling sees what waits, and it is recycled', async (t) => {
    const link = await openLink(redis.port);
    t.after(() => link.close());
    const trial = new StuckTrial(t, redis);
    const env = { QUEUE_REDIS_PORT: String(link.port) };
    const swarm = trial.start(1, { app: 'idle-worker.mjs', env, args: ['--timeout', '1s'] });
    await swarm.ready(1);
    const long = await trial.add({ ms: 600_000 });
    await trial.runs(long);
    const ofFirst = link.connections;
    await trial.command('scale', String(swarm.pid), '2');
    await swarm.ready(2);
    link.freeze(ofFirst);
    const [first] = await trial.addMany(3, {});
    const told = await swarm.line('not consuming', { slot: 1 }, SURE);
    assert.equal(told['waiting'], 3);
    const next = await trial.runs(first as string, 1, SURE);
    assert.deepEqual([next.slot, next.pid === told.pid], [1, false]);
    await completed(trial.queue, 3);
    assert.equal(swarm.all('not consuming').length, 1);
    assert.equal(await swarm.stop(), 0);
    assert.equal(await trial.queue.getJobState(long), 'waiting');
  });
});
