import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { SwarmError } from '../dist/errors.js';
import { connect, type RedisClient } from '../dist/redis/connect.js';
import { whenReady } from '../dist/redis/ready.js';
import { parseRedisUrl } from '../dist/redis/url.js';
import { Registry, type RegistryClient } from '../dist/registry/index.js';
import { registryKeys } from '../dist/registry/keys.js';
import { findPredecessors } from '../dist/registry/predecessors.js';
import { childrenOf, jobsOf, readSnapshot } from '../dist/registry/reader.js';
import type { ChildRecord, MasterInfo } from '../dist/registry/schema.js';
import { type MasterReport, RegistryWriter } from '../dist/registry/writer.js';
import { freePort, startRedis, type TestRedis, until } from './redis-server.js';

let server: TestRedis;
let client: RedisClient;
const cleanups: (() => unknown)[] = [];
let namespaces = 0;
function newNamespace(): string {
  namespaces += 1;
  return `test-${namespaces}`;
}

async function open(url: string): Promise<RedisClient> {
  const opened = connect(parseRedisUrl(url, '--redis'), { name: 'swarm-test', role: 'registry' });
  cleanups.push(() => opened.disconnect());
  await whenReady(opened, url);
  return opened;
}

before(async () => {
  server = await startRedis();
  cleanups.push(server.stop);
  client = await open(server.url);
});
after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

const INFO: MasterInfo = {
  identity: 'web-1:4711:abc',
  host: 'web-1',
  bootId: 'boot',
  pidNamespace: '4026531836',
  pid: 4711,
  pidStartTicks: 123,
  startedAtMs: 1_700_000_000_000,
  version: '0.1.0',
  node: 'v20.20.2',
  tag: 'mail',
  labels: ['blue'],
  app: './worker.js',
  redisId: null,
  config: { count: 2 },
};

function child(slot: number, more: Partial<ChildRecord> = {}): ChildRecord {
  return {
    identity: `web-1:${5000 + slot}:n`,
    slot,
    group: 'default',
    state: 'up',
    generation: 0,
    pid: 5000 + slot,
    pidStartTicks: 99,
    startedAtMs: 1,
    readyAtMs: 2,
    beatAtMs: 3,
    rssBytes: 1e8,
    pssBytes: 5e7,
    heapUsedBytes: 1e7,
    heapLimitBytes: 4e9,
    cpuPercent: 12.5,
    loopLagMs: 1.5,
    elu: 0.25,
    busy: 1,
    concurrency: 5,
    jobs: [{ queue: 'mail', id: String(slot), name: 'welcome', startedAtMs: 10 + slot }],
    processed: 7,
    failed: 1,
    restarts: 0,
    lastDeath: { atMs: 5, identity: 'web-1:1:x', pid: 1, code: null, signal: 'SIGKILL', cause: 'signal' },
    stuckSinceMs: null,
    workers: [{ queue: 'mail', prefix: 'bull', tokenPrefix: 'tok:', redisId: 'r' }],
    ...more,
  };
}

function report(more: Partial<MasterReport> = {}, info: Partial<MasterInfo> = {}): MasterReport {
  const holdings = [{ queue: 'mail', prefix: 'bull', redisId: 'r', tokenPrefixes: ['t:'], jobIds: ['1'] }];
  return {
    info: { ...INFO, ...info },
    state: 'up',
    generation: 0,
    count: 2,
    children: [child(0), child(1)],
    owed: [{ owner: 'web-1:9:z', holdings }],
    jobMemory: [],
    jobDurations: [],
    ...more,
  };
}

async function redisTimeMs(): Promise<number> {
  const [seconds, micros] = await client.time();
  return Number(seconds) * 1_000 + Number(micros) / 1_000;
}

describe('a beat', () => {
  it('is read back as it was written', async () => {
    const plain = { noNullPrototype: true };
    const text = fc.string({ unit: 'binary', maxLength: 20 });
    const count = fc.nat();
    const maybe = fc.option(fc.nat());
    const anyChild = fc.record(
      {
        group: text,
        state: fc.constantFrom('starting', 'up', 'quiet', 'stopping', 'backoff', 'failed'),
        generation: count,
        pid: count,
        rssBytes: maybe,
        pssBytes: maybe,
        cpuPercent: fc.option(fc.double({ min: 0, max: 1e4, noNaN: true })),
        busy: count,
        jobs: fc.array(fc.record({ queue: text, id: text, name: text, startedAtMs: count }, plain), {
          maxLength: 3,
        }),
        stuckSinceMs: maybe,
      },
      plain,
    ) as fc.Arbitrary<Partial<ChildRecord>>;
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyChild, { maxLength: 5 }),
        text,
        count,
        async (changes, tag, generation) => {
          const namespace = newNamespace();
          const written = report(
            { generation, children: changes.map((more, slot) => child(slot, more)) },
            { tag },
          );
          const reply = await new RegistryWriter(client, namespace).beat(written, 250);
          const { masters, warnings, redisTimeMs } = await readSnapshot(client, namespace);
          assert.deepEqual(warnings, []);
          const [master] = masters;
          assert.ok(master);
          assert.deepEqual(master.info, written.info);
          assert.deepEqual(master.owed, written.owed);
          const bySlot = (a: ChildRecord, b: ChildRecord) => a.slot - b.slot;
          assert.deepEqual(master.children.toSorted(bySlot), written.children);
          const { state, count, rttUs, stale, beatAtMs, pid, host } = master;
          assert.deepEqual(
            { state, count, rttUs, stale, beatAtMs, pid, host, generation: master.generation },
            {
              state: 'up',
              count: 2,
              rttUs: 250,
              stale: false,
              beatAtMs: reply.redisTimeMs,
              pid: 4711,
              host: 'web-1',
              generation,
            },
          );
          assert.ok(Math.abs(redisTimeMs - reply.redisTimeMs) < 5_000);
          assert.ok(reply.rttUs > 0);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('is one command, however many children', async (t) => {
    const writer = new RegistryWriter(client, newNamespace());
    await writer.beat(report(), null);
    const evaluated = async () => {
      const stats = String(await client.info('commandstats'));
      return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
    };
    const before = await evaluated();
    const { mock } = t.mock.method(client, 'sendCommand');
    const children = Array.from({ length: 512 }, (_, slot) => child(slot));
    for (let beat = 0; beat < 3; beat += 1) await writer.beat(report({ children, count: 512 }), null);
    assert.equal(mock.callCount(), 3);
    mock.restore();
    assert.equal((await evaluated()) - before, 3);
  });

  it('writes 512 children, and forgets those that are gone', async () => {
    const namespace = newNamespace();
    const writer = new RegistryWriter(client, namespace);
    await writer.beat(report({ children: Array.from({ length: 512 }, (_, slot) => child(slot)) }), null);
    assert.equal((await readSnapshot(client, namespace)).masters[0]?.children.length, 512);
    await writer.beat(report({ children: [child(3)], owed: [] }), null);
    const [master] = (await readSnapshot(client, namespace)).masters;
    assert.deepEqual(
      master?.children.map(({ slot }) => slot),
      [3],
    );
    assert.deepEqual(master?.owed, []);
  });

  it('leaves nothing without an expiry', async () => {
    const namespace = newNamespace();
    await new RegistryWriter(client, namespace).beat(report(), null);
    const keys = await client.keys(`swarm:{${namespace}}:*`);
    assert.equal(keys.length, 2);
    for (const key of keys) {
      const ttlMs = await client.pttl(key);
      assert.ok(ttlMs > 3_500_000 && ttlMs <= 3_615_000, `${key} ${ttlMs}`);
    }
  });

  it('rebuilds everything after FLUSHALL and SCRIPT FLUSH', async () => {
    const namespace = newNamespace();
    const writer = new RegistryWriter(client, namespace);
    await writer.beat(report(), null);
    await client.flushall();
    await client.script('FLUSH');
    await writer.beat(report(), null);
    assert.equal((await readSnapshot(client, namespace)).masters[0]?.children.length, 2);
  });

  it('drops masters that have been stale for an hour from the set', async () => {
    const namespace = newNamespace();
    const { masters } = registryKeys(namespace);
    const nowMs = await redisTimeMs();
    await client.zadd(masters, String(nowMs - 3_700_000), 'old');
    await client.zadd(masters, String(nowMs - 3_500_000), 'recent');
    await new RegistryWriter(client, namespace).beat(report(), null);
    assert.deepEqual(await client.zrange(masters, '0', '-1'), ['recent', INFO.identity]);
  });

  it('takes what has no JSON form', async () => {
    const namespace = newNamespace();
    const cyclic: Record<string, unknown> = {};
    cyclic['self'] = cyclic;
    const odd = {
      rssBytes: Number.NaN,
      cpuPercent: Number.POSITIVE_INFINITY,
      processed: 7n,
      lastDeath: cyclic,
    } as unknown as Partial<ChildRecord>;
    const written = report({ generation: Number.NaN, children: [child(0, odd)] }, { config: cyclic });
    await new RegistryWriter(client, namespace).beat(written, Number.NaN);
    const [master] = (await readSnapshot(client, namespace)).masters;
    assert.equal(master?.generation, 0);
    assert.equal(master?.rttUs, null);
    assert.deepEqual(master?.info.config, {});
    const read = master?.children[0];
    assert.deepEqual(
      [read?.rssBytes, read?.cpuPercent, read?.processed, read?.lastDeath],
      [null, null, 7, null],
    );
    assert.equal(read?.slot, 0);
  });

  it('cuts job names, not ids', async () => {
    const namespace = newNamespace();
    const long = 'x'.repeat(10_000);
    const jobs = [{ queue: 'mail', id: long, name: long, startedAtMs: 1 }];
    await new RegistryWriter(client, namespace).beat(report({ children: [child(0, { jobs })] }), null);
    const [job] = jobsOf(await readSnapshot(client, namespace));
    assert.equal(job?.id, long);
    assert.equal(job?.name.length, 256);
  });

  it('gets through when Redis is out of memory', async () => {
    const full = await startRedis();
    cleanups.push(full.stop);
    const other = await open(full.url);
    const writer = new RegistryWriter(other, 'full');
    await writer.beat(report(), null);
    await other.config('SET', 'maxmemory', '1');
    await assert.rejects(other.set('a', '1'), /OOM/);
    await writer.beat(report({ children: [child(7)] }), null);
    assert.deepEqual(
      (await readSnapshot(other, 'full')).masters[0]?.children.map(({ slot }) => slot),
      [7],
    );
  });

  it('is taken back at a clean exit', async () => {
    const namespace = newNamespace();
    const writer = new RegistryWriter(client, namespace);
    await writer.remove();
    await writer.beat(report(), null);
    await new RegistryWriter(client, namespace).beat(
      report({}, { identity: 'web-2:1:x', host: 'web-2' }),
      null,
    );
    await writer.remove();
    assert.deepEqual(
      (await readSnapshot(client, namespace)).masters.map(({ host }) => host),
      ['web-2'],
    );
    await writer.removeMaster('web-2:1:x');
    assert.deepEqual(await client.keys(`swarm:{${namespace}}:*`), []);
  });
});

describe('a reading', () => {
  it('marks what is stale, leaves it out of the children, and shows its jobs unless they run elsewhere', async () => {
    const namespace = newNamespace();
    await new RegistryWriter(client, namespace).beat(report(), null);
    await new RegistryWriter(client, namespace).beat(
      report(
        { children: [child(0), child(1, { jobs: [{ queue: 'mail', id: '9', name: '', startedAtMs: 1 }] })] },
        { identity: 'web-2:1:x', host: 'web-2', pid: 1 },
      ),
      null,
    );
    await client.hset(
      registryKeys(namespace).master('web-2:1:x'),
      'beatAtMs',
      String(Math.floor((await redisTimeMs()) - 15_500)),
    );
    const snapshot = await readSnapshot(client, namespace);
    assert.deepEqual(
      snapshot.masters.map(({ host, stale }) => [host, stale]),
      [
        ['web-1', false],
        ['web-2', true],
      ],
    );
    assert.deepEqual(
      childrenOf(snapshot).map(({ host, slot }) => [host, slot]),
      [
        ['web-1', 0],
        ['web-1', 1],
      ],
    );
    assert.deepEqual(
      jobsOf(snapshot)
        .map(({ id, pid, host, stale }) => ({ id, pid, host, stale }))
        .toSorted((a, b) => a.id.localeCompare(b.id)),
      [
        { id: '0', pid: 5000, host: 'web-1', stale: false },
        { id: '1', pid: 5001, host: 'web-1', stale: false },
        { id: '9', pid: 5001, host: 'web-2', stale: true },
      ],
    );
  });

  it('takes two round trips, however many masters', async () => {
    const namespace = newNamespace();
    const writer = new RegistryWriter(client, namespace);
    for (let pid = 1; pid <= 20; pid += 1)
      await writer.beat(report({}, { identity: `web-1:${pid}:n`, pid }), null);
    let trips = 0;
    const counting: RegistryClient = {
      pipeline(commands) {
        trips += 1;
        return client.pipeline(commands);
      },
    };
    assert.equal((await readSnapshot(counting, namespace)).masters.length, 20);
    assert.equal(trips, 2);
    assert.deepEqual((await readSnapshot(counting, newNamespace())).masters, []);
    assert.equal(trips, 3);
  });

  it('survives whatever others write', async () => {
    const junk = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 30 }),
      fc.json({ maxDepth: 3 }),
      fc.constantFrom(
        'null',
        '[]',
        '{}',
        '1e999',
        '{"slot":-1}',
        '{"identity":1,"slot":0,"state":"up"}',
        '{"__proto__":{"slot":1}}',
      ),
    );
    const field = fc.oneof(
      fc.constantFrom(
        'info',
        'state',
        'generation',
        'count',
        'beatAtMs',
        'rttUs',
        'owed',
        'child:',
        'child:a',
        '__proto__',
        'toString',
      ),
      fc.string({ maxLength: 10 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(field, junk), { minLength: 1, maxLength: 8 }), async (fields) => {
        const namespace = newNamespace();
        await new RegistryWriter(client, namespace).beat(report(), null);
        const { master, masters } = registryKeys(namespace);
        await client.zadd(masters, '1', 'alone', '2', 'missing', '3', '');
        for (const [name, value] of fields) {
          await client.hset(master(INFO.identity), name, value);
          await client.hset(master('alone'), name, value);
        }
        const snapshot = await readSnapshot(client, namespace);
        for (const { children } of snapshot.masters) {
          for (const { slot, jobs, workers } of children) assert.ok(slot >= 0 && jobs && workers);
        }
        assert.ok(snapshot.warnings.every((warning) => typeof warning === 'string'));
      }),
      { numRuns: 100 },
    );
  });

  it('skips what is malformed, says so, and keeps the rest', async () => {
    const namespace = newNamespace();
    await new RegistryWriter(client, namespace).beat(report(), null);
    const { master, masters } = registryKeys(namespace);
    await client.hset(master(INFO.identity), 'child:bad', '{', 'child:worse', '{"slot":"0"}');
    await client.set(master('text'), 'not a hash');
    await client.hset(master('empty'), 'state', 'up');
    await client.zadd(masters, '1', 'text', '1', 'empty', '1', 'gone');
    const { masters: read, warnings } = await readSnapshot(client, namespace);
    assert.deepEqual(
      read.map(({ children }) => children.length),
      [2],
    );
    assert.equal(warnings.length, 4);
    for (const part of [/child:bad/, /child:worse/, /:text: WRONGTYPE/, /master empty/])
      assert.ok(
        warnings.some((warning) => part.test(warning)),
        String(part),
      );
    await client.set(registryKeys('wrong-type').masters, 'not a set');
    assert.match((await readSnapshot(client, 'wrong-type')).warnings.join(), /WRONGTYPE/);
  });

  it('never hands out an empty token prefix: it would be that of every job', async () => {
    const namespace = newNamespace();
    const workers = [{ queue: 'mail', prefix: 'bull', tokenPrefix: '', redisId: 'r' }];
    const holdings = [{ queue: 'mail', prefix: 'bull', redisId: 'r', tokenPrefixes: ['', 't'], jobIds: [] }];
    await new RegistryWriter(client, namespace).beat(
      report({ children: [child(0, { workers })], owed: [{ owner: 'a', holdings }] }),
      null,
    );
    const [master] = (await readSnapshot(client, namespace)).masters;
    assert.deepEqual(master?.children[0]?.workers, []);
    assert.deepEqual(master?.owed[0]?.holdings[0]?.tokenPrefixes, ['t']);
  });
});

describe('on Redis Cluster', () => {
  it('writes and reads', async () => {
    const node = await startRedis({
      args: ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1'],
    });
    cleanups.push(node.stop);
    const admin = connect(parseRedisUrl(node.url, 'test'), { name: 'admin', role: 'jobs' });
    cleanups.push(() => admin.disconnect());
    await admin.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
    await until(
      async () => /cluster_state:ok/.test(String(await admin.call('CLUSTER', 'INFO'))),
      'the cluster has all slots',
    );
    const url = `redis+cluster://127.0.0.1:${node.port}`;
    const cluster = await open(url);
    const writer = new RegistryWriter(cluster, 'default');
    await writer.beat(report(), null);
    await writer.beat(report(), null);
    const registry = new Registry({ redis: url });
    cleanups.push(() => registry.close());
    assert.equal((await registry.masters())[0]?.children.length, 2);
    await writer.remove();
    assert.deepEqual(await registry.masters(), []);
  });
});

describe('Registry', () => {
  it('takes a URL, and closes its own connection', async () => {
    const namespace = newNamespace();
    await new RegistryWriter(client, namespace).beat(report(), null);
    const registry = new Registry({ redis: server.url, namespace });
    assert.equal((await registry.masters()).length, 1);
    assert.equal((await registry.children())[0]?.master, INFO.identity);
    assert.equal((await registry.jobs()).length, 2);
    const connections = async () =>
      String(await client.client('LIST')).match(/name=swarm-registry/g)?.length ?? 0;
    assert.equal(await connections(), 1);
    await registry.close();
    await until(async () => (await connections()) === 0, 'the connection is closed');
    assert.equal((await registry.masters()).length, 1);
    await registry.close();
  });

  it('takes a client of yours, of ioredis 5 too, and leaves it open', async () => {
    const namespace = newNamespace();
    await new RegistryWriter(client, namespace).beat(report(), null);
    // the ioredis that bullmq 5 brings
    const require = createRequire(createRequire(import.meta.url).resolve('bullmq5/package.json'));
    const { Redis, version } = {
      ...(require('ioredis') as {
        Redis: new (url: string) => RegistryClient & { ping(): Promise<string>; disconnect(): void };
      }),
      version: (require('ioredis/package.json') as { version: string }).version,
    };
    assert.match(version, /^5\./);
    const own = new Redis(server.url);
    cleanups.push(() => own.disconnect());
    const registry = new Registry({ redis: own, namespace });
    assert.equal((await registry.masters()).length, 1);
    await registry.close();
    assert.equal(await own.ping(), 'PONG');
  });

  it('says what is wrong instead of waiting', async () => {
    const none = new Registry({ redis: `redis://127.0.0.1:${await freePort()}` });
    cleanups.push(() => none.close());
    await assert.rejects(none.masters(), { code: 'SWARM_REDIS_UNREACHABLE' });
    await assert.rejects(new Registry({ redis: 'nonsense' }).masters(), { code: 'SWARM_BAD_REDIS_URL' });

    const silent = await startRedis();
    cleanups.push(silent.stop);
    const registry = new Registry({ redis: silent.url });
    cleanups.push(() => registry.close());
    assert.deepEqual(await registry.masters(), []);
    silent.signal('SIGSTOP');
    const startedAt = performance.now();
    await assert.rejects(registry.masters(), { code: 'SWARM_REDIS_UNREACHABLE' });
    assert.ok(performance.now() - startedAt < 30_000);
    silent.signal('SIGCONT');
    await until(async () => (await registry.masters().catch(() => null)) !== null, 'it reads again', 15_000);
  });
});

describe('a namespace', () => {
  it('is one hash tag, or an error', () => {
    assert.equal(registryKeys('default').master('a:1:b'), 'swarm:{default}:master:a:1:b');
    for (const bad of ['', 'a{b', 'a}b', 'a b', 'a\nb', 'a\u0000', 'x'.repeat(101)]) {
      assert.throws(
        () => registryKeys(bad),
        { code: 'SWARM_BAD_NAMESPACE', exitCode: 64 },
        JSON.stringify(bad),
      );
    }
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 110 }), (namespace) => {
        try {
          assert.match(registryKeys(namespace).masters, /^swarm:\{[^{}\s]+\}:masters$/u);
        } catch (error) {
          assert.ok(error instanceof SwarmError);
        }
      }),
    );
  });
});

describe('findPredecessors', () => {
  const place = fc.record({
    host: fc.constantFrom('a', 'b'),
    bootId: fc.constantFrom('x', 'y', null),
    pidNamespace: fc.constantFrom('1', '2', null),
  });
  it('finds those of this very place whose process is gone, and no others', async () => {
    const namespace = newNamespace();
    await new RegistryWriter(client, namespace).beat(report(), null);
    const [template] = (await readSnapshot(client, namespace)).masters;
    assert.ok(template);
    fc.assert(
      fc.property(
        place,
        fc.array(fc.tuple(place, fc.integer({ min: 1, max: 4 }))),
        fc.uniqueArray(fc.integer({ min: 1, max: 4 })),
        (self, others, gone) => {
          const masters = others.map(([where, pid]) => ({ ...template, info: { ...INFO, ...where, pid } }));
          const found = findPredecessors(
            masters,
            self,
            (pid, startTicks) => startTicks === 123 && gone.includes(pid),
          );
          for (const master of masters) {
            const { host, bootId, pidNamespace, pid } = master.info;
            const same = host === self.host && bootId === self.bootId && pidNamespace === self.pidNamespace;
            assert.equal(found.includes(master), same && bootId !== null && gone.includes(pid));
          }
        },
      ),
    );
  });
});
