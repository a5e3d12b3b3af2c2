/** `swarm queues` and the metrics of queues, of a swarm app that runs. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { QueueLag } from '../../packages/swarm/dist/registry/queues.js';
import { completed, openQueue } from '../support/jobs.js';
import { freePort, startRedis, type TestRedis } from '../support/redis.js';
import { Trial } from '../support/trial.js';
import { waitFor } from '../support/wait.js';

describe('the lag of queues', () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  it('is told by command and as metrics: what waits, since when, what runs, what a queue gets', async (t) => {
    const trial = new Trial(t, redis);
    const names = [`${trial.queue.name}-busy`, `${trial.queue.name}-calm`] as const;
    const [busy, calm] = names.map((name) => openQueue(redis, name));
    assert.ok(busy && calm);
    t.after(() => Promise.all([busy.close(), calm.close()]));
    const port = await freePort();
    const swarm = trial.start(2, {
      app: 'fault-app.mjs',
      args: ['-c', '3', '--port', String(port)],
      env: { QUEUE_NAME: names.join(',') },
    });
    await swarm.ready(2);
    const read = async (): Promise<QueueLag[]> =>
      JSON.parse((await trial.command('queues', '--json')).stdout) as QueueLag[];
    await calm.addBulk(
      Array.from({ length: 6 }, (_, index) => ({ name: 'job', data: { fail: index === 0 } })),
    );
    await completed(calm, 5);
    await busy.addBulk(Array.from({ length: 20 }, () => ({ name: 'job', data: { ms: 600_000 } })));
    await busy.add('job', {}, { delay: 600_000 });

    const [ofBusy, ofCalm] = await waitFor('both children are full, and have said so', async () => {
      const lags = await read();
      return lags[0]?.active === 6 && lags[0].started === 6 && lags[1]?.started === 6 && lags[1].failed === 1
        ? lags
        : null;
    });
    assert.deepEqual(
      [ofBusy?.queue, ofBusy?.waiting, ofBusy?.delayed, ofBusy?.paused],
      [names[0], 14, 1, false],
    );
    assert.deepEqual([ofBusy?.share, ofBusy?.concurrency, ofBusy?.children], [0.5, 6, 2]);
    assert.ok((ofBusy?.oldestWaitMs ?? 0) > 0);
    assert.deepEqual([ofCalm?.waiting, ofCalm?.active, ofCalm?.oldestWaitMs], [0, 0, null]);
    assert.equal(ofBusy?.failed, 0);

    const { stdout } = await trial.command('queues');
    assert.match(stdout, /^QUEUE +WAITING/);
    assert.match(stdout, new RegExp(`${names[0]} +14 +6`));
    const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    assert.match(metrics, new RegExp(`^swarm_queue_waiting\\{queue="${names[0]}",.*\\} 14$`, 'm'));
    assert.match(metrics, new RegExp(`^swarm_queue_share_ratio\\{queue="${names[1]}",.*\\} 0.5$`, 'm'));
    assert.match(metrics, new RegExp(`^swarm_queue_failed\\{queue="${names[1]}",.*\\} 1$`, 'm'));
    assert.match(metrics, /^swarm_collector_success\{collector="queues"\} 1$/m);
  });
});
