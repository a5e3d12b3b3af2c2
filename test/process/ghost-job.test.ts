/** An id that waits in a queue while its job is gone from Redis: deleted by hand, evicted, restored in part. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { noneActive } from '../support/jobs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { Trial } from '../support/trial.js';

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
