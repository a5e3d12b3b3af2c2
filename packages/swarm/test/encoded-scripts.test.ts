/** Calls of scripts as they are written to Redis: what ioredis itself would write. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { Command, Redis } from 'ioredis';
import { CallEncoder, encodeScripts } from '../dist/fetch/encoded-scripts.js';
import { startRedis, type TestRedis, until } from './redis-server.js';

const NAME = 'moveToFinished:1.2.3';
const LUA = "redis.call('INCR', KEYS[1]) return {KEYS[1], ARGV[1], ARGV[2], ARGV[3]}";

describe('a call that is encoded', () => {
  it('is what ioredis writes, whatever came before it', () => {
    const arg = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.integer(),
      fc.double({ min: -1e9, max: 1e9, noNaN: true }),
      fc.boolean(),
      fc.constantFrom(undefined, null, '', 'é', '\u{1f600}', '\ud800'),
      fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    );
    // few values, so that many calls have the same at the same place
    const calls = fc
      .array(arg, { minLength: 1, maxLength: 4 })
      .chain((values) =>
        fc.array(fc.array(fc.constantFrom(...values), { maxLength: 6 }), { minLength: 1, maxLength: 6 }),
      );
    fc.assert(
      fc.property(calls, (all) => {
        const encoder = new CallEncoder(['evalsha', 'abc', 1]);
        for (const args of all) {
          const theirs = new Command('evalsha', ['abc', 1, ...(args as string[])]).toWritable({});
          assert.equal(encoder.encode(args).toString('latin1'), Buffer.from(theirs).toString('latin1'));
        }
      }),
    );
  });
});

describe('scripts of a connection', () => {
  let server: TestRedis;
  let client: Redis;
  before(async () => {
    server = await startRedis();
    client = new Redis(server.url, { maxRetriesPerRequest: null, retryStrategy: () => 20 });
    client.on('error', () => {});
    encodeScripts(client);
    client.defineCommand(NAME, { lua: LUA, numberOfKeys: 1 });
  });
  after(async () => {
    client.disconnect();
    await server.stop();
  });
  const call = (...args: unknown[]): Promise<unknown> =>
    (client as unknown as Record<string, (args: unknown[]) => Promise<unknown>>)[NAME]?.(
      args,
    ) as Promise<unknown>;
  const answer = (key: string) => [key, 'a', 'é', ''];

  it('answer as ever, again after Redis has forgotten them, and on a new connection', async () => {
    for (let time = 0; time < 3; time += 1) {
      assert.deepEqual(await call('key', Buffer.from('a'), 'é', undefined), answer('key'));
    }
    await client.script('FLUSH');
    const all = await Promise.all(['key', 'key', 'other'].map((key) => call(key, 'a', 'é', '')));
    assert.deepEqual(all, [answer('key'), answer('key'), answer('other')]);
    await client.script('FLUSH');
    const last = call('key', 'a', 'é', '');
    client.stream.destroy();
    assert.deepEqual(await last, answer('key'));
    await until(() => client.status === 'ready', 'it is connected again');
    assert.deepEqual(await call('key', 'a', 'é', ''), answer('key'));
  });

  it('reject as ever', async () => {
    await client.set('list', 'no number');
    for (let time = 0; time < 2; time += 1)
      await assert.rejects(call('list', 'a', 'b', 'c'), /not an integer/);
  });
});
