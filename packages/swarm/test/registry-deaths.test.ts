/** Death records in a real Redis: what masters write and readers make of it. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { deathReport, sparkline } from '../dist/commands/death-report.js';
import { deaths as deathsCommand, deathsReport, parseLimit } from '../dist/commands/deaths.js';
import type { DeathRecord } from '../dist/death.js';
import { connect, type RedisClient } from '../dist/redis/connect.js';
import { whenReady } from '../dist/redis/ready.js';
import { parseRedisUrl } from '../dist/redis/url.js';
import { DeathStream } from '../dist/registry/death-stream.js';
import { decodeDeathRecord } from '../dist/registry/decode-death.js';
import { Registry } from '../dist/registry/index.js';
import { startRedis, type TestRedis } from './redis-server.js';

function death(at: number, more: Partial<DeathRecord> = {}): DeathRecord {
  return {
    atMs: 1_700_000_000_000 + at,
    identity: `web1:${at}:aa`,
    master: 'web1:1:bb',
    host: 'web1',
    tag: 'shop',
    slot: 2,
    group: 'default',
    pid: at,
    generation: 1,
    cause: 'signal',
    evidence: {
      summary: 'SIGKILL, not sent by its master',
      hint: 'ask around',
      killedFor: null,
      leavesFor: null,
      wasReady: true,
      drained: false,
      oom: {
        counterFile: '/cg/memory.events.local',
        counted: 0,
        kernelLogRead: true,
        kernelLog: null,
        anonRssBytes: null,
        onMachine: 0,
      },
      heapOom: null,
      uncaught: { phase: 'run', message: 'no', stack: 'Error: no\n    at f (a.js:1:1)' },
    },
    code: null,
    signal: 'SIGKILL',
    uptimeMs: 65_000,
    rssBytes: 612e6,
    pssBytes: 580e6,
    heapUsedBytes: 40e6,
    memory: [
      [2, 70e6, 60e6, 10e6],
      [1, 300e6, 60e6, 20e6],
      [0, 612e6, 580e6, null],
    ],
    jobs: [
      {
        queue: 'mail',
        id: '7',
        name: 'welcome',
        startedAtMs: 1_700_000_000_000 + at - 3_000,
        outcome: 'released',
        blame: null,
      },
      {
        queue: 'mail',
        id: '8',
        name: '',
        startedAtMs: null,
        outcome: 'quarantined',
        blame: { exact: 3, shared: 1 },
      },
    ],
    stderr: ['first', 'last \u001b[31mred\u001b[0m'],
    dump: null,
    addons: ['/app/sharp.node'],
    node: '20.0.0',
    ...more,
  };
}

const planned = (at: number): DeathRecord => {
  const { evidence } = death(at);
  return death(at, {
    cause: 'rolled',
    evidence: { ...evidence, leavesFor: 'roll', drained: true },
    signal: null,
    code: 0,
  });
};

describe('the deaths of a namespace', () => {
  let redis: TestRedis;
  let client: RedisClient;
  let namespaces = 0;
  before(async () => {
    redis = await startRedis();
    client = connect(parseRedisUrl(redis.url, 'test'), { name: 'test', role: 'registry' });
    await whenReady(client, redis.url);
  });
  after(async () => {
    client.disconnect();
    await redis.stop();
  });

  function setUp() {
    const namespace = `deaths-${++namespaces}`;
    const stream = new DeathStream(client, namespace);
    const registry = new Registry({ redis: client as never, namespace });
    return { namespace, key: `swarm:{${namespace}}:deaths`, stream, registry };
  }

  it('are read as they were written, the newest first', async () => {
    const { stream, registry, key } = setUp();
    assert.deepEqual(await registry.deaths(), []);
    // the third waited for Redis
    for (const at of [1, 3, 2]) await stream.add(death(at), false);
    assert.deepEqual(await registry.deaths(), [death(3), death(2), death(1)]);
    assert.ok((await client.pttl(key)) > 86_400_000);
  });

  it('are once each, even if a record was written twice', async () => {
    const { stream, registry } = setUp();
    for (const at of [1, 1, 2, 1]) await stream.add(death(at), false);
    assert.equal((await registry.deaths()).length, 2);
  });

  it('are their own master’s, whenever another has recorded what it knew', async () => {
    const { stream, registry } = setUp();
    const ends = [death(1), death(1, { cause: 'host-lost' }), death(2, { cause: 'host-lost' }), death(2)];
    for (const record of ends) await stream.add(record, false);
    const causes = (await registry.deaths()).map(({ cause }) => cause);
    assert.deepEqual(causes, ['signal', 'signal']);
  });

  it('leave out who left as told, unless asked for; the limit counts what is shown', async () => {
    const { stream, registry } = setUp();
    for (let at = 1; at <= 130; at++) await stream.add(at % 65 === 1 ? death(at) : planned(at), false);
    const pids = async (query: object): Promise<number[]> =>
      (await registry.deaths(query)).map(({ pid }) => pid);
    assert.deepEqual(await pids({ limit: 2 }), [66, 1]);
    assert.deepEqual(await pids({ limit: 3, all: true }), [130, 129, 128]);
    assert.equal((await pids({ limit: 1_000, all: true })).length, 130);
    assert.deepEqual(await pids({ of: '40' }), [40]);
    assert.deepEqual(await pids({ of: 'web1:41:aa' }), [41]);
    assert.deepEqual(await pids({ of: '4' }), [4]);
  });

  it('are capped, and planned ends do not push the others out', async () => {
    const { stream, registry, key } = setUp();
    await stream.add(death(1), false);
    for (let at = 2; at < 200; at++) await stream.add(planned(at), true);
    assert.ok((await client.xlen(key)) <= 60);
    for (let at = 200; at < 1_500; at++) await stream.add(death(at), false);
    assert.ok((await client.xlen(key)) < 1_200);
    const newest = await registry.deaths({ limit: 1 });
    assert.equal(newest[0]?.pid, 1_499);
  });

  it('are read past what is malformed', async () => {
    const { namespace, key, stream, registry } = setUp();
    await stream.add(death(1), false);
    await client.xadd(key, '*', 'death', '{');
    await client.xadd(key, '*', 'death', '{"identity":1}');
    await client.xadd(key, '*', 'other', 'x');
    await client.xadd(key, '*', 'death', JSON.stringify({ identity: 'a', atMs: 5, cause: 'signal' }));
    const { deaths, warnings } = await registry.readDeaths();
    assert.deepEqual(
      deaths.map(({ identity }) => identity),
      ['web1:1:aa', 'a'],
    );
    assert.equal(warnings.length, 3);
    await client.del(key);
    await client.set(key, 'a string');
    assert.deepEqual(await registry.deaths(), []);
    const notes: string[] = [];
    const screen = { width: 80, print: async () => {}, note: (text: string) => void notes.push(text) };
    await deathsCommand({ redis: redis.url, redisTlsNoVerify: false, namespace, json: true }, screen);
    assert.match(notes[0] ?? '', /WRONGTYPE/);
  });

  it('are printed as one JSON document, a table, or one of them with all of it', async () => {
    const { namespace, stream } = setUp();
    await stream.add(death(4711), false);
    await stream.add(planned(4712), true);
    const print = async (more: object): Promise<string> => {
      const printed: string[] = [];
      const screen = { width: 120, print: async (text: string) => void printed.push(text), note: () => {} };
      const options = { redis: redis.url, redisTlsNoVerify: false, namespace, json: false, ...more };
      assert.equal(await deathsCommand(options, screen), 0);
      return printed.join('\n');
    };
    assert.deepEqual(JSON.parse(await print({ json: true })), [death(4711)]);
    assert.deepEqual(JSON.parse(await print({ json: true, all: true })), [planned(4712), death(4711)]);
    const [title, row, ...rest] = (await print({})).split('\n');
    assert.match(title ?? '', /^AT +CAUSE +SLOT +PID +UPTIME +RSS +JOBS +EVIDENCE$/);
    assert.match(
      row ?? '',
      /^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d +signal +2 +4711 +1m 5s +612MB +2 +SIGKILL, not sent/,
    );
    assert.deepEqual(rest, []);
    assert.match(await print({ of: '4711' }), /at f \(a\.js:1:1\)/);
    await assert.rejects(print({ of: '9' }), { code: 'SWARM_NO_SUCH_DEATH', exitCode: 64 });
  });
});

describe('a death, as text', () => {
  it('shows everything, and obeys nothing', () => {
    const text = deathReport(death(4711), 100).join('\n');
    for (const part of [
      'web1:4711:aa: signal',
      'up for 1m 5s',
      'SIGKILL, not sent by its master',
      'ask around',
      'RSS 612MB, PSS 580MB, heap 40MB',
      '▁▄█  70MB to 612MB over 2s',
      'welcome',
      '3 exact, 1 shared',
      'at f (a.js:1:1)',
      'stderr, the last 2 lines',
      '/app/sharp.node',
    ]) {
      assert.ok(text.includes(part), `${part} in\n${text}`);
    }
    assert.ok(!text.includes('\u001b'));
  });

  it('counts kernel kills where there were any', () => {
    const { evidence } = death(1);
    const counting = (counted: number): string => {
      const oom = evidence.oom && { ...evidence.oom, counted };
      return deathReport(death(1, { evidence: { ...evidence, oom } }), 100).join('\n');
    };
    assert.match(counting(2), /oom_kill went up by 2/);
    assert.doesNotMatch(counting(0), /went up/);
  });

  it('fits a narrow terminal, as a table', () => {
    for (const width of [30, 60, 80]) {
      const text = deathsReport(
        { deaths: [death(1), death(2, { host: 'web2' })], warnings: [] },
        { url: 'u', namespace: 'n', all: false },
        width,
      );
      assert.ok(
        text.split('\n').every((line) => line.length <= width),
        text,
      );
    }
  });

  it('says when there is none', () => {
    const where = { url: 'redis://h', namespace: 'n', all: false };
    assert.match(
      deathsReport({ deaths: [], warnings: [] }, where, 80),
      /^No death is on record in namespace n on redis:\/\/h/,
    );
  });

  it('draws a line of any numbers', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(), { minLength: 1 }), (values) => {
        const line = sparkline(values);
        assert.equal(line.length, values.length);
        assert.equal(line[values.indexOf(Math.min(...values))], '▁');
        if (new Set(values).size > 1) assert.equal(line[values.indexOf(Math.max(...values))], '█');
      }),
    );
  });
});

describe('a death record, decoded', () => {
  it('is what was encoded', () => {
    assert.deepEqual(decodeDeathRecord(JSON.stringify(death(1))), death(1));
  });

  it('is whole or nothing, whatever the text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        decodeDeathRecord(text);
      }),
    );
    const keys = Object.keys(death(1)) as (keyof DeathRecord)[];
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...keys), fc.jsonValue()), (fields) => {
        const record = decodeDeathRecord(JSON.stringify({ ...death(1), ...fields }));
        if (record) assert.deepEqual(Object.keys(record).sort(), keys.toSorted());
      }),
    );
  });
});

describe('--limit', () => {
  it('takes whole numbers from 1', () => {
    assert.equal(parseLimit(undefined), undefined);
    assert.equal(parseLimit('20'), 20);
    for (const text of ['0', '-1', '1.5', 'x', '', '1e9'])
      assert.throws(() => parseLimit(text), { code: 'SWARM_BAD_LIMIT' });
  });
});
