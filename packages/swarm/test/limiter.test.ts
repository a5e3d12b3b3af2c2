import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { getEventListeners } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { expose } from '../dist/http/exposition.js';
import { LimitCollector } from '../dist/http/limit-metrics.js';
import { isOverLimit, type LeaseLostError, Limiter, OverLimitError } from '../dist/limiter/index.js';
import { defaultBackoffMs } from '../dist/limiter/options.js';
import { RedisClock } from '../dist/limiter/redis-clock.js';
import { readLimits } from '../dist/limiter/status.js';
import { startRedis, type TestRedis, until } from './redis-server.js';

const LONG_MS = 30_000;

function unique(): string {
  return `l-${randomBytes(4).toString('hex')}`;
}

/** Work that must not be done. */
function letIn(): never {
  assert.fail('it was let in');
}

/** A promise that is fulfilled from outside. */
function gate(): { opened: Promise<void>; open(): void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

describe('what limiters refuse', () => {
  const bad = (make: () => unknown, message: RegExp): void => {
    assert.throws(make, (error: Error & { code?: string }) => {
      assert.equal(error.code, 'SWARM_BAD_LIMITER');
      assert.match(error.message, message);
      return true;
    });
  };

  it('numbers that are none', () => {
    for (const n of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '2', null, undefined, {}]) {
      bad(() => Limiter.concurrent('a', n as number), /n takes a whole number from 1 to 1000000, got/);
      bad(() => Limiter.bucket('a', n as number, 'minute'), /n takes a whole number/);
      bad(() => Limiter.window('a', n as number, 1_000), /n takes a whole number/);
      bad(() => Limiter.leaky('a', n as number, 1_000), /size takes a whole number/);
      bad(() => Limiter.points('a', n as number, 1), /points takes a whole number/);
      if (n !== 1.5) bad(() => Limiter.points('a', 10, n as number), /refillPerSecond takes a number from/);
      bad(() => Limiter.window('a', 1, n as number), /ms takes a whole number/);
      bad(() => Limiter.leaky('a', 1, n as number), /drainMs takes a whole number/);
    }
    bad(() => Limiter.bucket('a', 1, 'week' as 'day'), /period takes second, minute, hour, day, got "week"/);
    bad(
      () => Limiter.points('a', 10, 1, { estimate: 11 }),
      /estimate takes at most the 10 points there are, got 11/,
    );
  });

  it('names that cannot be part of a key', () => {
    for (const name of ['', 'a{b', 'a}b', 'a\nb', 'a\0b', '\ud800', 'x'.repeat(201), null, 7]) {
      bad(() => Limiter.concurrent(name as string, 2), /name takes 1 to 200 characters without braces/);
    }
    Limiter.concurrent('linkedin:42 ünï/*?[]', 2);
  });

  it('options that are none', () => {
    bad(() => Limiter.concurrent('a', 2, { waitTimeoutMs: -1 }), /waitTimeoutMs takes a whole number from 0/);
    bad(() => Limiter.concurrent('a', 2, { waitTimeoutMs: Number.POSITIVE_INFINITY }), /waitTimeoutMs takes/);
    bad(
      () => Limiter.concurrent('a', 2, { lockTimeoutMs: 99 }),
      /lockTimeoutMs takes a whole number from 100/,
    );
    bad(
      () => Limiter.concurrent('a', 2, { policy: 'wait' as 'raise' }),
      /policy takes 'raise' or 'skip', got "wait"/,
    );
    bad(
      () => Limiter.concurrent('a', 2, { waitTimeout: 1 } as object),
      /options takes waitTimeoutMs, .*, got "waitTimeout"/,
    );
    bad(() => Limiter.bucket('a', 2, 'day', { lockTimeoutMs: 500 } as object), /got "lockTimeoutMs"/);
    bad(
      () => Limiter.concurrent('a', 2, { redis: 7 as unknown as string }),
      /redis takes a URL or an ioredis client/,
    );
    bad(() => Limiter.connect({} as string), /redis takes a URL or an ioredis client/);
    const prefixed = new Redis({ lazyConnect: true, keyPrefix: 'mine:' });
    bad(() => Limiter.connect(prefixed), /without keyPrefix, got "mine:"/);
  });
});

describe('limiters', () => {
  let redis: TestRedis;
  let client: Redis;
  const realNow = Date.now;
  before(async () => {
    redis = await startRedis();
    client = new Redis({ port: redis.port, maxRetriesPerRequest: null });
    Limiter.connect(client);
    Date.now = () => realNow() - 3_600_000;
  });
  after(async () => {
    Date.now = realNow;
    await Limiter.close();
    client.disconnect();
    await redis.stop();
  });

  it('let in so many at once, in the order in which they came', async () => {
    const limiter = Limiter.concurrent(unique(), 3, { waitTimeoutMs: LONG_MS });
    const order: number[] = [];
    let atWork = 0;
    let most = 0;
    const results = await Promise.all(
      Array.from({ length: 60 }, (_, at) =>
        limiter.withinLimit(async () => {
          order.push(at);
          atWork += 1;
          most = Math.max(most, atWork);
          await sleep(at % 3);
          atWork -= 1;
          return at;
        }),
      ),
    );
    assert.equal(most, 3);
    assert.deepEqual(results, order);
    const status = await limiter.status();
    const { held, waiting, immediate, waited, holds, overages } = status;
    assert.deepEqual(
      { held, waiting, immediate, waited, holds, overages },
      {
        held: 0,
        waiting: 0,
        immediate: 3,
        waited: 57,
        holds: 60,
        overages: 0,
      },
    );
    assert.deepEqual(
      await client.exists(`swarm:limit:{${limiter.name}}:held`, `swarm:limit:{${limiter.name}}:queue`),
      0,
    );
  });

  it('give the place back when the work fails', async () => {
    const limiter = Limiter.concurrent(unique(), 1);
    await assert.rejects(
      limiter.withinLimit(() => {
        throw new RangeError('no');
      }),
      RangeError,
    );
    await limiter.withinLimit(() => {});
    assert.equal((await limiter.status()).held, 0);
  });

  it('do not wait where the wait is 0, and say by whom and what', async () => {
    const limiter = Limiter.concurrent(unique(), 1, { waitTimeoutMs: 0 });
    const lease = await limiter.tryAcquire();
    assert.ok(lease);
    await assert.rejects(limiter.withinLimit(letIn), (error) => {
      assert.ok(error instanceof OverLimitError && isOverLimit(error));
      assert.equal(error.code, 'SWARM_OVER_LIMIT');
      assert.equal(error.limiter, limiter.name);
      assert.match(error.message, /\(1 at once\): no room$/);
      return true;
    });
    assert.equal(await limiter.tryAcquire(), null);
    await lease.release();
    await lease.release();
    assert.equal(await limiter.withinLimit(() => 'in'), 'in');
    assert.equal((await limiter.status()).overages, 2);
  });

  it('wait for as long as they may', async () => {
    const limiter = Limiter.concurrent(unique(), 1, { waitTimeoutMs: 100 });
    await limiter.withinLimit(async () => {
      const askedAtMs = performance.now();
      await assert.rejects(limiter.withinLimit(letIn), /no room within \d+ ms/);
      const waitedMs = performance.now() - askedAtMs;
      assert.ok(waitedMs >= 99 && waitedMs < 5_000, `${waitedMs} ms`);
    });
    const { waiting, overages } = await limiter.status();
    assert.deepEqual({ waiting, overages }, { waiting: 0, overages: 1 });
  });

  it('skip where that is the policy', async () => {
    const limiter = Limiter.concurrent(unique(), 1, { waitTimeoutMs: 0, policy: 'skip' });
    const outcome = await limiter.withinLimit(() => limiter.withinLimit(letIn));
    assert.equal(outcome, undefined);
  });

  it('end a wait at a signal, and go on with the next', async () => {
    const limiter = Limiter.concurrent(unique(), 1, { waitTimeoutMs: LONG_MS });
    const { opened, open } = gate();
    const abort = new AbortController();
    const first = limiter.withinLimit(() => opened);
    const second = limiter.withinLimit(letIn, { signal: abort.signal });
    const third = limiter.withinLimit(() => 'third');
    await until(async () => (await limiter.status()).waiting === 2, 'two wait');
    abort.abort(new Error('changed my mind'));
    await assert.rejects(second, /changed my mind/);
    assert.equal(getEventListeners(abort.signal, 'abort').length, 0);
    await until(async () => (await limiter.status()).waiting === 1, 'one waits');
    open();
    await first;
    assert.equal(await third, 'third');
    await assert.rejects(limiter.withinLimit(letIn, { signal: AbortSignal.abort() }), /abort/i);
    assert.equal((await limiter.status()).overages, 0);
  });

  it('abort the work whose lease is lost', async () => {
    const limiter = Limiter.concurrent(unique(), 1, { lockTimeoutMs: 300 });
    const reason = await limiter.withinLimit(async ({ signal }) => {
      // somebody resets it, and takes the place
      await client.del(`swarm:limit:{${limiter.name}}:held`);
      await client.zadd(`swarm:limit:{${limiter.name}}:held`, realNow() + 60_000, 'else/1/60000/0/1');
      await until(() => signal.aborted, 'the signal aborts');
      return signal.reason as LeaseLostError;
    });
    assert.equal(reason.code, 'SWARM_LEASE_LOST');
  });

  it('renew a lease for as long as the work goes on', async () => {
    const limiter = Limiter.concurrent(unique(), 1, { lockTimeoutMs: 900 });
    await limiter.withinLimit(async ({ signal }) => {
      const first = await scoresOf(`swarm:limit:{${limiter.name}}:held`);
      await until(async () => {
        const now = await scoresOf(`swarm:limit:{${limiter.name}}:held`);
        return Number(now[0]) > Number(first[0]) + 400;
      }, 'it was renewed');
      assert.equal(signal.aborted, false);
    });
    assert.equal((await limiter.status()).reclaimed, 0);
  });

  it('free what nobody renews, and let the next in', async () => {
    const limiter = Limiter.concurrent(unique(), 1, { waitTimeoutMs: LONG_MS });
    await limiter.withinLimit(() => {});
    // a holder that is gone
    const heldUntil = realNow() + 300;
    await client.zadd(`swarm:limit:{${limiter.name}}:held`, heldUntil, 'gone/1/300/0/1');
    await limiter.withinLimit(() => {
      const lateMs = realNow() - heldUntil;
      assert.ok(lateMs >= -5 && lateMs < 5_000, `let in ${lateMs} ms after the lease had ended`);
    });
    assert.equal((await limiter.status()).reclaimed, 1);
  });

  it('pass by waiters that are gone', async () => {
    const limiter = Limiter.concurrent(unique(), 1, { waitTimeoutMs: LONG_MS });
    const { opened, open } = gate();
    const first = limiter.withinLimit(() => opened);
    await until(async () => (await limiter.status()).held === 1, 'the first is in');
    for (const number of [1, 2, 3]) {
      await client.zadd(
        `swarm:limit:{${limiter.name}}:queue`,
        number,
        `gone/${number}/30000/99999999999999/1`,
      );
    }
    const second = limiter.withinLimit(() => performance.now());
    await until(async () => (await limiter.status()).waiting === 4, 'four wait');
    const openedAtMs = performance.now();
    open();
    await first;
    assert.ok((await second) - openedAtMs < 1_500, 'not delayed by those who are gone');
  });

  it('lose no wake-up with a connection', async () => {
    const limiter = Limiter.concurrent(unique(), 1, { waitTimeoutMs: LONG_MS });
    const { opened, open } = gate();
    const first = limiter.withinLimit(() => opened);
    const others = [1, 2, 3].map((number) => limiter.withinLimit(() => number));
    await until(async () => (await limiter.status()).waiting === 3, 'three wait');
    await client.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    open();
    await first;
    assert.deepEqual(await Promise.all(others), [1, 2, 3]);
  });

  it('go on where Redis has forgotten everything', async () => {
    const limiter = Limiter.concurrent(unique(), 1, { waitTimeoutMs: LONG_MS, lockTimeoutMs: 300 });
    const { opened, open } = gate();
    const first = limiter.withinLimit(() => opened);
    const second = limiter.withinLimit(() => 'second');
    await until(async () => (await limiter.status()).waiting === 1, 'one waits');
    await client.flushall();
    await client.script('FLUSH');
    // the first has its lease again with its next renewal, and the second its place when it looks
    await until(async () => (await limiter.status()).held === 1, 'the lease is there again');
    await until(async () => (await limiter.status()).waiting === 1, 'the place is there again', 20_000);
    open();
    await first;
    assert.equal(await second, 'second');
  });

  it('say so when Redis does not answer, and work again when it does', async () => {
    const other = new Redis({ port: redis.port, maxRetriesPerRequest: null });
    const limiter = Limiter.concurrent(unique(), 1, { redis: other, waitTimeoutMs: 0 });
    await limiter.withinLimit(() => {});
    redis.signal('SIGSTOP');
    try {
      await assert.rejects(limiter.withinLimit(letIn), { code: 'SWARM_LIMITER_REDIS' });
    } finally {
      redis.signal('SIGCONT');
    }
    // the answer that came too late is undone
    await until(async () => (await limiter.status()).held === 0, 'nothing is held');
    assert.equal(await limiter.withinLimit(() => 'in'), 'in');
    other.disconnect();
  });

  it('wait on a connection of their own where the client keeps no commands', async (t) => {
    const other = new Redis({ port: redis.port, enableOfflineQueue: false, maxRetriesPerRequest: 0 });
    t.after(() => other.disconnect());
    await until(() => other.status === 'ready', 'it is connected');
    const limiter = Limiter.concurrent(unique(), 1, { redis: other, waitTimeoutMs: LONG_MS });
    const { opened, open } = gate();
    const first = limiter.withinLimit(() => opened);
    const second = limiter.withinLimit(() => 'second');
    await until(async () => (await limiter.status()).waiting === 1, 'one waits');
    open();
    await first;
    assert.equal(await second, 'second');
  });

  it('are reset: counts, leases, but not those who wait', async () => {
    const limiter = Limiter.concurrent(unique(), 1, { waitTimeoutMs: LONG_MS });
    const { opened, open } = gate();
    const first = limiter.withinLimit(() => opened);
    const second = limiter.withinLimit(() => 'second');
    await until(async () => (await limiter.status()).waiting === 1, 'one waits');
    await limiter.reset();
    assert.equal(await second, 'second');
    open();
    await first;
    const { held, waiting, immediate } = await limiter.status();
    assert.deepEqual({ held, waiting, immediate }, { held: 0, waiting: 0, immediate: 0 });
  });

  it('keep nothing for ever', async () => {
    const keyed = Array.from({ length: 50 }, (_, user) => Limiter.concurrent(`${unique()}:${user}`, 1));
    await Promise.all(keyed.map((limiter) => limiter.withinLimit(() => {})));
    await Limiter.window(unique(), 3, 60_000).withinLimit(() => {});
    await Limiter.bucket(unique(), 3, 'day').withinLimit(() => {});
    await Limiter.leaky(unique(), 3, 60_000).withinLimit(() => {});
    await Limiter.points(unique(), 3, 1).withinLimit(() => {});
    await until(async () => (await client.exists('swarm:limits')) === 1, 'their use is noted');
    const keys = await client.keys('swarm:*');
    assert.ok(keys.length >= 54);
    for (const key of keys) assert.ok((await client.pttl(key)) > 0, key);
  });

  it('of a window let in so many in any stretch of it', async () => {
    const limiter = Limiter.window(unique(), 4, 150, { waitTimeoutMs: LONG_MS });
    const letInAtMs: number[] = [];
    for (let round = 0; round < 4; round += 1) {
      await usesOf(limiter, 4);
      letInAtMs.push(...(await scoresOf(`swarm:limit:{${limiter.name}}:hits`)).slice(-4));
    }
    for (const [at, time] of letInAtMs.entries()) {
      const fourBefore = letInAtMs[at - 4];
      if (fourBefore !== undefined) assert.ok(time - fourBefore >= 150, `${letInAtMs}`);
    }
  });

  it('of a bucket let in so many in a second of the calendar', async () => {
    const limiter = Limiter.bucket(unique(), 5, 'second', { waitTimeoutMs: LONG_MS });
    const times = await usesOf(limiter, 12);
    // 5 in the second of the first at most, 5 in the next, 2 in the third: a second boundary at least between
    assert.ok((times[11] ?? 0) - (times[0] ?? 0) >= 900, `${times}`);
    assert.ok((times[11] ?? 0) - (times[0] ?? 0) < 10_000, `${times}`);
  });

  it('of a bucket that leaks let in a burst, then evenly', async () => {
    const limiter = Limiter.leaky(unique(), 4, 400, { waitTimeoutMs: LONG_MS });
    const times = await usesOf(limiter, 9);
    // the first may have begun a little after it was let in
    assert.ok((times[8] ?? 0) - (times[0] ?? 0) >= 400, `${times}`);
    assert.ok((times[3] ?? 0) - (times[0] ?? 0) < 400, `${times}`);
  });

  it('of points charge the estimate before and the truth after', async () => {
    const limiter = Limiter.points(unique(), 100, 1, { estimate: 40, waitTimeoutMs: 0 });
    await limiter.withinLimit(({ used }) => used(5));
    assert.equal(Math.round((await limiter.status()).used), 5);
    await limiter.withinLimit(() => 30, { used: (result) => result, estimate: 95 });
    assert.equal(Math.round((await limiter.status()).used), 35);
    await limiter.withinLimit(() => 'what', { used: 90 });
    // more than there is: it is owed
    assert.ok((await limiter.status()).used > 110);
    await assert.rejects(limiter.withinLimit(letIn), (error) => {
      return isOverLimit(error) && error.retryInMs !== null && error.retryInMs > 30_000;
    });
    await assert.rejects(
      limiter.withinLimit(() => {}, { estimate: Number.NaN }),
      { code: 'SWARM_BAD_LIMITER' },
    );
  });

  it('do not wait for what comes too late in any case', async () => {
    const limiter = Limiter.bucket(unique(), 1, 'day', { waitTimeoutMs: 20_000 });
    await limiter.withinLimit(() => {});
    const askedAtMs = performance.now();
    await assert.rejects(limiter.withinLimit(letIn), (error) => {
      return isOverLimit(error) && error.retryInMs !== null && error.retryInMs <= 86_400_000;
    });
    assert.ok(performance.now() - askedAtMs < 10_000);
  });

  it('are metrics', async () => {
    const limiter = Limiter.concurrent(unique(), 3);
    const lease = await limiter.tryAcquire();
    const isListed = async (): Promise<boolean> =>
      (await readLimits(client, 100)).some(({ name }) => name === limiter.name);
    await until(isListed, 'it is listed');
    const collector = new LimitCollector();
    assert.deepEqual(await collector.collect(), [], 'there is no Redis yet');
    collector.use(client);
    const text = expose(await collector.collect());
    const labels = `{limiter="${limiter.name}",type="concurrent"}`;
    assert.ok(text.includes(`swarm_limiter_limit${labels} 3\n`), text);
    assert.ok(text.includes(`swarm_limiter_held${labels} 1\n`));
    assert.ok(text.includes('# TYPE swarm_limiter_wait_seconds_total counter\n'));
    await lease?.release();
  });

  it('without a limit', async () => {
    assert.equal(await Limiter.unlimited.withinLimit(({ signal }) => signal.aborted), false);
    assert.ok(await Limiter.unlimited.tryAcquire());
    assert.equal((await Limiter.unlimited.status()).available, null);
    await Limiter.unlimited.reset();
  });

  /** When the work began. */
  async function usesOf(
    limiter: { withinLimit(fn: () => number): Promise<number> },
    count: number,
  ): Promise<number[]> {
    const times: number[] = [];
    await Promise.all(Array.from({ length: count }, () => limiter.withinLimit(() => times.push(realNow()))));
    return times;
  }

  async function scoresOf(key: string): Promise<number[]> {
    // flat, whatever protocol the client speaks
    const script = "return redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')";
    const reply = (await client.eval(script, 1, key)) as string[];
    return reply.filter((_, at) => at % 2 === 1).map(Number);
  }
});

describe('two definitions of one limiter', () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  it('are an error in one process, and of two kinds everywhere', async () => {
    const client = new Redis({ port: redis.port });
    Limiter.connect(client);
    const name = unique();
    await Limiter.concurrent(name, 2).withinLimit(() => {});
    const conflict = { code: 'SWARM_LIMITER_CONFLICT', message: /is in use as "concurrent 2"/ };
    await assert.rejects(
      Limiter.concurrent(name, 3).withinLimit(() => {}),
      conflict,
    );
    await assert.rejects(
      Limiter.window(name, 3, 1_000).withinLimit(() => {}),
      conflict,
    );
    await assert.rejects(Limiter.window(name, 3, 1_000).status(), conflict);
    await Limiter.concurrent(name, 3).reset();
    await Limiter.concurrent(name, 3).withinLimit(() => {});
    await Limiter.close();
    client.disconnect();
  });
});

describe("Redis's clock", () => {
  it('is never later than what it is taken for', () => {
    const clock = new RedisClock();
    // it was 1000 there at some time between 10 and 14 here
    clock.saw(1_000, 10, 14);
    assert.equal(clock.atEarliest(1_100), 110);
    // a quicker answer says more
    clock.saw(2_000, 1_011, 1_012);
    assert.equal(clock.atEarliest(2_100), 1_111);
    // a slower one does not unsay it
    clock.saw(3_000, 2_005, 2_050);
    assert.equal(clock.atEarliest(3_100), 2_111);
    // but what was said long ago is no longer believed
    clock.saw(103_000, 102_005, 102_006);
    assert.equal(clock.atEarliest(103_100), 102_105);
  });
});

describe('the backoff of a job', () => {
  it('doubles up to five minutes, and is at least until there is room', () => {
    const none = { retryInMs: null };
    assert.deepEqual(
      [1, 2, 3, 9, 10, 20, 1_000].map((count) => defaultBackoffMs(count, none, () => 1)),
      [1_000, 2_000, 4_000, 256_000, 300_000, 300_000, 300_000],
    );
    assert.equal(
      defaultBackoffMs(1, { retryInMs: 90_000 }, () => 0),
      90_500,
    );
  });
});
