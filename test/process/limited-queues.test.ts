/** Limits of queues and of job names in a swarm app: taken before the fetch, over all children. */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { Limiter } from 'bullmq-swarm/limiter';
import { completed, openQueue } from '../support/jobs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { Trial } from '../support/trial.js';
import { waitFor } from '../support/wait.js';

describe('limits of a swarm app', () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
    Limiter.connect(redis.client);
  });
  after(async () => {
    await Limiter.close();
    await redis.close();
  });

  it('hold over all children, and keep no other queue waiting', async (t) => {
    const { trial, queue } = openTrial(t);
    const swarm = trial.start(3, { app: 'limit-queues.mjs', args: ['-c', '5'] });
    await swarm.ready(3);
    const counts = { limited: 40, window: 15, named: 20, free: 40 };
    await queue('limited').addBulk(jobs(counts.limited, () => 'job'));
    await queue('window').addBulk(jobs(counts.window, () => 'job', { ms: 1 }));
    await queue('named').addBulk(jobs(counts.named, (at) => (at % 2 ? 'one' : 'other')));
    await queue('free').addBulk(jobs(counts.free, () => 'job'));

    await Promise.all(Object.entries(counts).map(([name, count]) => completed(queue(name), count)));
    assert.ok((await most(trial, 'limited')) <= 2);
    assert.ok((await most(trial, 'named')) <= 1);
    assert.ok((await most(trial, 'free')) > 2, 'where there is no limit, none is kept');
    const { held, waiting } = await Limiter.concurrent(`${trial.queue.name}:limited`, 2).status();
    assert.deepEqual({ held, waiting }, { held: 0, waiting: 0 });
    await swarm.stop();
  });

  it('have room again at once when the child dies that held it', async (t) => {
    const { trial, queue } = openTrial(t);
    const swarm = trial.start(2, { app: 'limit-queues.mjs', args: ['-c', '5'] });
    await swarm.ready(2);
    const limiter = Limiter.concurrent(`${trial.queue.name}:limited`, 2);
    const limited = queue('limited');
    await limited.addBulk(jobs(2, () => 'job', { ms: 600_000 }));
    await waitFor('both are at work', async () => (await limiter.status()).held === 2);
    await limited.addBulk(jobs(4, () => 'job'));
    for (const pid of swarm.children.values()) process.kill(pid, 'SIGKILL');
    await waitFor('leases are freed', () => swarm.all('leases freed').length > 0);
    // what ran runs again, and holds both places
    await waitFor('both are at work again', async () => (await limiter.status()).held === 2);
  });

  function openTrial(t: TestContext) {
    const trial = new Trial(t, redis);
    const queues = new Map(
      ['limited', 'window', 'named', 'free'].map((name) => {
        return [name, openQueue(redis, `${trial.queue.name}-${name}`)];
      }),
    );
    t.after(() => Promise.all([...queues.values()].map((queue) => queue.close())));
    const queue = (name: string) => queues.get(name) ?? assert.fail(name);
    return { trial, queue };
  }

  async function most(trial: Trial, what: string): Promise<number> {
    return Number(await redis.client.get(`${trial.queue.name}:${what}:most`));
  }
});

function jobs(count: number, name: (at: number) => string, data = {}) {
  return Array.from({ length: count }, (_, at) => ({ name: name(at), data }));
}
