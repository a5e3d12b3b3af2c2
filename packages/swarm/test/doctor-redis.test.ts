/** What `swarm doctor` finds in a Redis: each of these is a real server in a bad state. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { Queue, Worker } from 'bullmq';
import { judgeLatency } from '../dist/doctor/checks/redis-latency.js';
import { findings, finds, openClient } from './doctor-exam.js';
import { freePort, startRedis, type TestRedis, until } from './redis-server.js';

async function redisWith(t: TestContext, ...args: string[]): Promise<TestRedis> {
  const redis = await startRedis({ args });
  t.after(() => redis.stop());
  return redis;
}

describe('doctor on a good Redis', () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis({ args: ['--appendonly', 'yes'] });
  });
  after(() => redis.stop());

  it('has no warning, nor about what lives in it', async (t) => {
    const connection = { host: '127.0.0.1', port: redis.port };
    const queue = new Queue('mail', { connection, defaultJobOptions: { attempts: 3 } });
    const worker = new Worker('mail', async () => {}, { connection });
    t.after(() => Promise.all([queue.close(), worker.close()]));
    await queue.addBulk(Array.from({ length: 20 }, (_, at) => ({ name: 'welcome', data: { at } })));
    await queue.add('later', {}, { delay: 3_600_000 });
    const all = await findings(redis.url, { now: () => Date.now() });
    // which Node runs the tests is nobody's fault
    const bad = [...all.values()].filter(({ status, check }) => status !== 'ok' && check !== 'node-version');
    assert.deepEqual(bad, []);
    assert.equal(all.get('redis-connection')?.skipped, false);
    assert.equal(all.get('queues-taken')?.skipped, false);
  });
});

describe('doctor finds in a Redis that', () => {
  it('evicts', async (t) => {
    const redis = await redisWith(t, '--maxmemory-policy', 'allkeys-lru');
    const cure = /CONFIG SET maxmemory-policy noeviction/;
    await finds(redis.url, 'redis-eviction', {
      status: 'fail',
      found: /maxmemory-policy is allkeys-lru/,
      cure,
    });
  });

  it('keeps nothing on disk', async (t) => {
    const redis = await redisWith(t);
    const cure = /appendonly yes/;
    await finds(redis.url, 'redis-persistence', { status: 'warn', found: /keeps nothing on disk/, cure });
  });

  it('cannot write its snapshot', async (t) => {
    const redis = await redisWith(t, '--save', '3600 1');
    // where its file should go, there is a directory
    mkdirSync(join(redis.directory, 'dump.rdb', 'in-the-way'), { recursive: true });
    const client = await openClient(t, redis.url);
    await client.set('key', 'value');
    await client.bgsave();
    await until(
      async () => (await client.info('persistence')).includes('last_bgsave_status:err'),
      'it failed',
    );
    await finds(redis.url, 'redis-persistence', { status: 'fail', found: /could not write its snapshot/ });
  });

  it('allows too few clients', async (t) => {
    const redis = await redisWith(t, '--maxclients', '12');
    const options = { flags: { count: '8' } };
    const expected = {
      status: 'fail',
      found: /of 12 connections are in use; the configuration here adds about 18/,
    } as const;
    await finds(redis.url, 'redis-clients', { ...expected, cure: /raise maxclients/ }, options);
  });

  it('is nearly full', async (t) => {
    const redis = await redisWith(t, '--maxmemory', '8mb', '--maxmemory-policy', 'noeviction');
    const client = await openClient(t, redis.url);
    for (let at = 0; at < 60; at++) await client.set(`key:${at}`, 'x'.repeat(100_000)).catch(() => {});
    await finds(redis.url, 'redis-memory', {
      status: 'fail',
      found: /\d+ % of its maxmemory/,
      cure: /removeOnComplete/,
    });
  });

  it('is a replica', async (t) => {
    const primary = await redisWith(t);
    const replica = await redisWith(t, '--replicaof', `127.0.0.1 ${primary.port}`);
    await finds(replica.url, 'redis-connection', {
      status: 'fail',
      found: /read-only replica/,
      cure: /primary/,
    });
  });

  it('wants another password: only what needs it is left out', async (t) => {
    const redis = await redisWith(t, '--requirepass', 'right');
    const all = await findings(redis.url.replace('//', '//:wrong@'));
    const connection = all.get('redis-connection');
    assert.equal(connection?.status, 'fail');
    assert.match(connection?.found ?? '', /refused the user or password/);
    assert.ok(connection?.cure.join().includes('redis://user:password@host'));
    assert.doesNotMatch(JSON.stringify([...all.values()]), /:wrong@/);
    assert.equal(all.get('redis-eviction')?.skipped, true);
    assert.equal(all.get('deaths')?.found, 'not looked at: Redis cannot be used');
    assert.equal(all.get('overcommit')?.skipped, false);
    assert.equal(all.get('lingering-processes')?.skipped, false);
  });

  it('is not there', async () => {
    const url = `redis://127.0.0.1:${await freePort()}`;
    await finds(url, 'redis-connection', { status: 'fail', found: /connection refused/ });
  });

  it('is older than what scripts need', async (t) => {
    const redis = await redisWith(t);
    const old = await proxyTo(t, redis.port, (chunk) => {
      return Buffer.from(
        chunk.toString('latin1').replace(/redis_version:7\.0\.\d\d/, 'redis_version:5.0.14'),
        'latin1',
      );
    });
    const client = await openClient(t, redis.url);
    const isKnown = (await client.info('server')).includes('redis_version:7.0.');
    if (!isKnown) return t.skip('another Redis than the one whose version is replaced');
    await finds(old, 'redis-version', { status: 'fail', found: /is 5\.0\.14; swarm needs 6\.2/ });
  });

  it('is far away', async (t) => {
    const redis = await redisWith(t);
    const far = await proxyTo(t, redis.port, (chunk) => chunk, 60);
    await finds(far, 'redis-latency', {
      status: 'warn',
      found: /half of 50 answers within \d+ ms/,
      cure: /same region|SLOWLOG/,
    });
  });

  it('is blocked by slow commands, and names them', async (t) => {
    const redis = await redisWith(t, '--enable-debug-command', 'yes');
    const client = await openClient(t, redis.url);
    await client.call('DEBUG', 'SLEEP', '0.12');
    const found = /slow commands of the last hour: DEBUG SLEEP \(1\d\dms\)/i;
    await finds(redis.url, 'redis-latency', { status: 'ok', found });
  });
});

describe('doctor judges latency', () => {
  const fast = Array.from({ length: 50 }, () => 0.5);
  const uneven = [...fast.slice(0, 40), ...Array.from({ length: 10 }, () => 300)];

  it('by its spread too', () => {
    assert.equal(judgeLatency({ roundTripsMs: fast, ownDelayMs: 5, slow: [] }).status, 'ok');
    assert.equal(judgeLatency({ roundTripsMs: uneven, ownDelayMs: 5, slow: [] }).status, 'warn');
  });

  it('and blames no Redis for a machine without CPU', () => {
    assert.equal(judgeLatency({ roundTripsMs: uneven, ownDelayMs: 250, slow: [] }).status, 'ok');
  });
});

/** What Redis says, changed or late. @returns its URL */
async function proxyTo(
  t: TestContext,
  port: number,
  change: (chunk: Buffer) => Buffer,
  delayMs = 0,
): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1');
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => {});
    }
    near.pipe(far);
    far.on('data', (chunk) => void setTimeout(() => near.write(change(chunk)), delayMs));
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
  }).listen(0, '127.0.0.1');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  await once(server, 'listening');
  return `redis://127.0.0.1:${(server.address() as { port: number }).port}`;
}
