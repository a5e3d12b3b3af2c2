/** Jobs that are gone from Redis or broken there while their ids wait: by hand, evicted, restored in part. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { noneActive } from '../support/jobs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { Trial } from '../support/trial.js';
import { waitFor } from '../support/wait.js';

describe('a job whose hash is gone', { concurrency: 2 }, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  for (const [kind, app] of [
    ['an unmodified program', 'fault-worker.mjs'],
    ['a swarm app', 'fault-app.mjs'],
  ] as const) {
    it(`does not keep ${kind} from the jobs after it, nor from beating and stopping`, async (t) => {
      const trial = new Trial(t, redis);
      const ghost = await trial.queue.add('job', {});
      await redis.client.del(trial.queue.toKey(ghost.id as string));
      const swarm = trial.start(1, { app, args: ['--timeout', '20s'] });
      await swarm.ready(1);
      await trial.addMany(3, { ms: 10 });
      await trial.nothingLost(new Map([[swarm, 1]]));
      await noneActive(trial.queue);
      assert.equal(await swarm.stop(), 0);
      assert.deepEqual(swarm.all('malformed message dropped'), []);
      assert.deepEqual(swarm.all('kill'), []);
    });
  }
});

describe('a job of whose data nothing can be made', () => {
  it('does not keep a job with blame from running alone, nor the others from running after it', async (t) => {
    const redis = await startRedis();
    t.after(() => redis.close());
    const trial = new Trial(t, redis);
    const broken = await trial.queue.add('job', {});
    await redis.client.hset(trial.queue.toKey(broken.id as string), 'data', '{');
    const swarm = trial.start(1, { app: 'fault-app.mjs', args: ['--timeout', '20s'] });
    await swarm.ready(1);
    await waitFor('the broken job was fetched', async () => (await trial.queue.getActiveCount()) === 1);
    await trial.queue.pause();
    const suspect = await trial.queue.add('job', { ms: 10 });
    await redis.client.hset(trial.queue.toKey(suspect.id as string), 'swarmShared', '1');
    const other = await trial.queue.add('job', { ms: 10 });
    await trial.queue.resume();
    for (const { id } of [suspect, other])
      await waitFor(
        `job ${id} is done`,
        async () => (await trial.queue.getJobState(String(id))) === 'completed',
      );
  });
});
