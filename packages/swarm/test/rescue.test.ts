/** Who may release what a stale master held: claims in a real Redis. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { connect, type RedisClient } from '../dist/redis/connect.js';
import { whenReady } from '../dist/redis/ready.js';
import { parseRedisUrl } from '../dist/redis/url.js';
import { registryKeys } from '../dist/registry/keys.js';
import { Rescue } from '../dist/registry/rescue.js';
import type { MasterInfo } from '../dist/registry/schema.js';
import { RegistryWriter } from '../dist/registry/writer.js';
import { startRedis, type TestRedis, until } from './redis-server.js';

let server: TestRedis;
let client: RedisClient;
before(async () => {
  server = await startRedis();
  client = connect(parseRedisUrl(server.url, '--redis'), { name: 'swarm-test', role: 'registry' });
  await whenReady(client, server.url);
});
after(async () => {
  client.disconnect();
  await server.stop();
});

const LOST = 'web1:1:lost';

function info(identity: string): MasterInfo {
  const [host = '', pid = '0'] = identity.split(':');
  const place = {
    identity,
    host,
    redisId: null,
    bootId: 'b',
    pidNamespace: 'n',
    pid: Number(pid),
    pidStartTicks: 1,
  };
  return { ...place, startedAtMs: 1, version: '', node: '', tag: '', labels: [], app: '', config: {} };
}

async function beat(namespace: string, identity: string): Promise<string[]> {
  const report = {
    info: info(identity),
    state: 'up',
    generation: 0,
    count: 0,
    children: [],
    owed: [],
    jobMemory: [],
    jobDurations: [],
  } as const;
  return (await new RegistryWriter(client, namespace).beat(report, null)).stale;
}

/** As it will be when it has not beaten for a while. */
async function makeStale(namespace: string, identity: string): Promise<void> {
  await client.zadd(registryKeys(namespace).masters, Date.now() - 1_000, identity);
}

describe('a beat', () => {
  it('says which other masters are stale', async () => {
    assert.deepEqual(await beat('stale', LOST), []);
    assert.deepEqual(await beat('stale', 'web2:2:x'), []);
    await makeStale('stale', LOST);
    assert.deepEqual(await beat('stale', 'web2:2:x'), [LOST]);
    assert.deepEqual(await beat('stale', LOST), [], 'not itself, and it is back');
    assert.deepEqual(await beat('stale', 'web2:2:x'), []);
  });
});

describe('a claim', () => {
  const rescue = (namespace: string, self: string): Rescue => new Rescue(client, namespace, self);
  const keys = (namespace: string) => registryKeys(namespace);

  it('is had by one of those who ask at once, until it runs out', async () => {
    await beat('one', LOST);
    await makeStale('one', LOST);
    const many = Array.from({ length: 20 }, (_, at) => rescue('one', `web2:${at}:x`));
    const outcomes = await Promise.all(many.map(async (each) => (await each.claim(LOST, 300, null)).outcome));
    assert.equal(outcomes.filter((outcome) => outcome === 'ours').length, 1);
    assert.equal(outcomes.filter((outcome) => outcome === 'others').length, 19);
    const winner = outcomes.indexOf('ours');
    assert.equal((await many[winner]?.claim(LOST, 300, null))?.outcome, 'ours', 'it can be renewed');
    const other = many[(winner + 1) % 20] as Rescue;
    await until(
      async () => (await other.claim(LOST, 300, null)).outcome === 'ours',
      'the claim runs out',
      5_000,
    );
  });

  it('is refused when the master beats, and when it has no entry', async () => {
    assert.equal((await rescue('back', 'web2:2:x').claim(LOST, 1_000, null)).outcome, 'back');
    await beat('back', LOST);
    assert.equal((await rescue('back', 'web2:2:x').claim(LOST, 1_000, null)).outcome, 'back');
    assert.equal(await client.exists(keys('back').claim(LOST)), 0);
  });

  it('keeps a note for whoever comes next, which goes with the first beat of a master that is back', async () => {
    await beat('note', LOST);
    await makeStale('note', LOST);
    const [first, second] = [rescue('note', 'web2:2:x'), rescue('note', 'web3:3:x')];
    assert.deepEqual(await first.claim(LOST, 1, null), { outcome: 'ours', note: null });
    const note = { done: ['a'], waiting: { b: ['1'] } };
    await first.claim(LOST, 1, note);
    await until(async () => (await second.claim(LOST, 1_000, null)).outcome === 'ours', 'the claim', 5_000);
    assert.deepEqual((await second.claim(LOST, 1_000, null)).note, note);
    const [master] = await second.masters();
    assert.equal(master?.identity, LOST, 'the entry is none the worse for it');
    await client.hset(keys('note').master(LOST), 'rescue', '{"done":');
    assert.deepEqual((await second.claim(LOST, 1_000, null)).note, null);
    await beat('note', LOST);
    assert.equal(await client.hexists(keys('note').master(LOST), 'rescue'), 0);
  });

  it('writes no note where the entry is gone: it would never expire', async () => {
    await beat('gone', LOST);
    await makeStale('gone', LOST);
    await client.del(keys('gone').master(LOST));
    assert.equal((await rescue('gone', 'web2:2:x').claim(LOST, 1_000, { done: [] })).outcome, 'ours');
    assert.equal(await client.exists(keys('gone').master(LOST)), 0);
  });

  it('ends with the entry, unless the master is back', async () => {
    const self = rescue('end', 'web2:2:x');
    await beat('end', LOST);
    await self.forget(LOST);
    assert.equal(await client.exists(keys('end').master(LOST)), 1, 'it beats');
    await makeStale('end', LOST);
    await self.claim(LOST, 60_000, null);
    await client.xadd(keys('end').commands(LOST), '*', 'x', 'y');
    await self.forget(LOST);
    assert.deepEqual(await client.keys('swarm:{end}:*'), []);
  });
});
