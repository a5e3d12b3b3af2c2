/** Limiters as the limit of a queue: what a consumer sees of them. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { Redis } from 'ioredis';
import type { FetchGate } from '../dist/fetch/gate.js';
import { Limiter } from '../dist/limiter/index.js';
import { startRedis, type TestRedis, until } from './redis-server.js';

interface Limit {
  openGate: ReturnType<typeof Limiter.concurrent>['openGate'];
}

/** One child's gate, and how often it was told of room. */
class Child {
  readonly gate: FetchGate;
  rooms = 0;

  constructor(limit: Limit, client: Redis) {
    this.gate = limit.openGate({
      identity: 'host:1:ab',
      client,
      connect: () => new Redis({ port: client.options.port as number }),
    });
    this.gate.onRoom(() => {
      this.rooms += 1;
    });
  }

  async told(times: number): Promise<void> {
    await until(() => this.rooms >= times, `told of room ${times} times`);
  }
}

describe('a limiter as a gate', () => {
  let redis: TestRedis;
  let clients: Redis[];
  before(async () => {
    redis = await startRedis();
    clients = [0, 1, 2].map(() => new Redis({ port: redis.port, maxRetriesPerRequest: null }));
  });
  after(async () => {
    await Limiter.close();
    for (const client of clients) client.disconnect();
    await redis.stop();
  });

  const unique = (): string => `l-${randomBytes(4).toString('hex')}`;
  const children = (limit: Limit): [Child, Child, Child] => {
    const [a, b, c] = clients.map((client) => new Child(limit, client));
    return [a, b, c] as [Child, Child, Child];
  };
  const held = (name: string): Promise<number> =>
    clients[0]?.zcard(`swarm:limit:{${name}}:held`) ?? assert.fail();
  const waiting = (name: string): Promise<number> =>
    clients[0]?.zcard(`swarm:limit:{${name}}:queue`) ?? assert.fail();

  it('tells who was refused when there is room, one after the other', async () => {
    const limit = Limiter.concurrent(unique(), 1);
    const [a, b, c] = children(limit);
    const lease = await a.gate.tryAcquire();
    assert.ok(lease);
    assert.equal(await b.gate.tryAcquire(), null);
    assert.equal(await b.gate.tryAcquire(), null, 'one waiter, however often it asks');
    assert.equal(await c.gate.tryAcquire(), null);
    assert.equal(await waiting(limit.name), 2);
    lease.release();
    await b.told(1);
    assert.equal(c.rooms, 0);
    const second = await b.gate.tryAcquire();
    assert.ok(second);
    second.release();
    second.cancel();
    await c.told(1);
    (await c.gate.tryAcquire())?.cancel();
    await until(async () => (await held(limit.name)) === 0, 'nothing is held');
    await Promise.all([a, b, c].map(({ gate }) => gate.close()));
  });

  it('stands in the queue once, however many ask at the same time', async () => {
    const limit = Limiter.concurrent(unique(), 2);
    const [a, b] = children(limit);
    const leases = await Promise.all([1, 2, 3, 4, 5].map(() => a.gate.tryAcquire()));
    assert.equal(leases.filter((lease) => lease !== null).length, 2);
    assert.deepEqual(await Promise.all([1, 2, 3, 4, 5].map(() => b.gate.tryAcquire())), [
      null,
      null,
      null,
      null,
      null,
    ]);
    await until(async () => (await waiting(limit.name)) === 2, 'one of each waits');
    assert.deepEqual([a.rooms, b.rooms], [0, 0], 'and is not told of room that there is not');
    for (const lease of leases) lease?.release();
    await Promise.all([a.told(1), b.told(1)]);
    await Promise.all([a, b].map(({ gate }) => gate.close()));
  });

  it('hands on what is not wanted any more', async () => {
    const limit = Limiter.concurrent(unique(), 1);
    const [a, b, c] = children(limit);
    const lease = await a.gate.tryAcquire();
    await b.gate.tryAcquire();
    await c.gate.tryAcquire();
    lease?.release();
    await b.told(1);
    // its queue has proved empty meanwhile
    b.gate.withdraw();
    await c.told(1);
    const next = await c.gate.tryAcquire();
    assert.ok(next);
    // one that waits
    assert.equal(await b.gate.tryAcquire(), null);
    b.gate.withdraw();
    await until(async () => (await waiting(limit.name)) === 0, 'nobody waits');
    next.release();
    await until(async () => (await held(limit.name)) === 0, 'nothing is held');
    assert.ok(await b.gate.tryAcquire());
    await Promise.all([a, b, c].map(({ gate }) => gate.close()));
    assert.equal(b.rooms, 1, 'not told of what it did not wait for');
  });

  it('does not keep what nobody comes for', async () => {
    const limit = Limiter.concurrent(unique(), 1);
    const [a, b, c] = children(limit);
    const lease = await a.gate.tryAcquire();
    await b.gate.tryAcquire();
    await c.gate.tryAcquire();
    lease?.release();
    await b.told(1);
    await c.told(1);
    assert.ok(await c.gate.tryAcquire());
    await Promise.all([a, b, c].map(({ gate }) => gate.close()));
  });

  it('gives back the use for which no job came', async () => {
    const limit = Limiter.bucket(unique(), 2, 'day', { redis: clients[0] });
    const [a] = children(limit);
    for (let time = 0; time < 5; time += 1) {
      const lease = await a.gate.tryAcquire();
      assert.ok(lease, `time ${time}`);
      lease.cancel();
      await until(async () => (await limit.status()).used === 0, 'it was given back');
    }
    assert.equal((await limit.status()).immediate, 0);
    await a.gate.close();
  });

  it('tells when time has made room', async () => {
    const limit = Limiter.window(unique(), 1, 200);
    const [a, b] = children(limit);
    assert.ok(await a.gate.tryAcquire());
    assert.equal(await b.gate.tryAcquire(), null);
    assert.ok(limit.retryInMs() > 0);
    await b.told(1);
    assert.ok(await b.gate.tryAcquire());
    await Promise.all([a, b].map(({ gate }) => gate.close()));
  });

  it('of no limit lets all in', async () => {
    const gate = Limiter.unlimited.openGate();
    assert.ok(await gate.tryAcquire());
    await gate.close();
  });
});
