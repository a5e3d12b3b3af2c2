import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cluster } from 'ioredis';
import { Limiter } from '../dist/limiter/index.js';
import { readLimits } from '../dist/limiter/status.js';
import { startCluster, type TestCluster } from './redis-cluster.js';
import { until } from './redis-server.js';

describe('limiters on a Redis Cluster', () => {
  let cluster: TestCluster;
  before(async () => {
    cluster = await startCluster();
    Limiter.connect(cluster.client);
  });
  after(async () => {
    await Limiter.close();
    await cluster.stop();
  });

  it('let in so many at once, in order, whatever slot they are in', async () => {
    // names of all three nodes
    const names = ['a', 'b', 'c', 'linkedin:1', 'linkedin:2'];
    await Promise.all(
      names.map(async (name) => {
        const limiter = Limiter.concurrent(name, 2, { waitTimeoutMs: 30_000 });
        const order: number[] = [];
        let atWork = 0;
        await Promise.all(
          Array.from({ length: 20 }, (_, at) =>
            limiter.withinLimit(async () => {
              order.push(at);
              atWork += 1;
              assert.ok(atWork <= 2);
              await sleep(2);
              atWork -= 1;
            }),
          ),
        );
        assert.deepEqual(
          order,
          [...order].sort((a, b) => a - b),
        );
        assert.equal((await limiter.status()).held, 0);
      }),
    );
  });

  it('are of every kind, and are listed', async () => {
    const limiters = [
      Limiter.bucket('of a bucket', 5, 'day'),
      Limiter.window('of a window', 5, 60_000),
      Limiter.leaky('that leaks', 5, 60_000),
      Limiter.points('of points', 5, 1),
    ];
    for (const limiter of limiters) {
      await limiter.withinLimit(({ used }) => used(1));
      assert.equal(Math.round((await limiter.status()).used), 1);
    }
    await until(async () => (await readLimits(cluster.client, 100)).length === 9, 'all nine are listed');
  });

  it('wait on a connection of their own where the client keeps no commands', async (t) => {
    const nodes = cluster.ports.map((port) => ({ host: '127.0.0.1', port }));
    const client = new Cluster(nodes, { enableOfflineQueue: false });
    t.after(() => client.disconnect());
    await until(() => client.status === 'ready', 'it is connected');
    const limiter = Limiter.concurrent('d', 1, { redis: client, waitTimeoutMs: 30_000 });
    const first = limiter.withinLimit(() =>
      until(async () => (await limiter.status()).waiting === 1, 'the other waits'),
    );
    assert.equal(await limiter.withinLimit(() => 'second'), 'second');
    await first;
  });

  it('pass by a waiter that is gone, although no node knows who listens', async () => {
    const limiter = Limiter.concurrent('with a ghost', 1, { waitTimeoutMs: 30_000 });
    const lease = await limiter.tryAcquire();
    await cluster.client.zadd('swarm:limit:{with a ghost}:queue', '1', 'gone/1/30000/99999999999999/1');
    const next = limiter.withinLimit(() => 'in');
    await until(async () => (await limiter.status()).waiting === 2, 'two wait');
    await lease?.release();
    // the ghost has the place for a moment
    assert.equal(await next, 'in');
  });
});
