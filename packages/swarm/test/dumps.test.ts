/** What a master does about dumps, with a watchdog that answers when it is told to, and a real Redis for the stream. */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import type { DumpRecord } from '../dist/dump.js';
import type { LogFields } from '../dist/log.js';
import { noticeOf } from '../dist/master/death-notice.js';
import { type Dumped, Dumps } from '../dist/master/dumps.js';
import { connect, type RedisClient } from '../dist/redis/connect.js';
import { whenReady } from '../dist/redis/ready.js';
import { parseRedisUrl } from '../dist/redis/url.js';
import { DumpStream } from '../dist/registry/dump-stream.js';
import { Registry } from '../dist/registry/index.js';
import type { MasterInfo } from '../dist/registry/schema.js';
import type { Block } from '../dist/supervisor/stuck.js';
import type { WatchdogOrder } from '../dist/watchdog-protocol.js';
import { dumpRecord } from './dump-samples.js';
import { startRedis, type TestRedis } from './redis-server.js';

const INFO = { identity: 'web1:1:aa', host: 'web1', tag: 'shop', node: '20.0.0' } as MasterInfo;
/** No process has it. */
const NO_PID = 2 ** 30;
const FINDINGS = JSON.parse(JSON.stringify(dumpRecord(1))) as object;

function setUp(t: TestContext, { watchdog = true, clockOffsetMs = 0, details = false } = {}) {
  t.mock.timers.reset();
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const written: DumpRecord[] = [];
  const said: { level: string; message: string; fields: LogFields | undefined }[] = [];
  const orders: WatchdogOrder[] = [];
  const say = (level: string) => (message: string, fields?: LogFields) =>
    void said.push({ level, message, fields });
  const blocks: Record<string, Block> = {};
  const dumps = new Dumps({
    info: INFO,
    log: { debug() {}, info: say('info'), warn: say('warn'), error: say('error'), childOutput() {} },
    stream: {
      add: async (record) => void written.push(record),
      retry: async () => {},
    },
    clockOffsetMs: () => clockOffsetMs,
    blockOf: (identity) => blocks[identity],
    details,
  });
  const child: Dumped = {
    identity: 'web1:5:cc',
    pid: NO_PID,
    slot: 1,
    group: 'default',
    generation: 0,
    jobs: [{ queue: 'mail', id: '7', name: 'welcome', startedAtMs: 5 }],
    sawJobs: () => {},
    beat: null,
    watchdog: watchdog ? { send: (order) => void orders.push(order) } : null,
  };
  const answer = (findings: unknown = FINDINGS): void => {
    const { dumpId } = orders.at(-1) as WatchdogOrder;
    dumps.hear(child, { type: 'dump', dumpId, findings });
  };
  const block = (more: Partial<Block> = {}): void => {
    const sinceMs = performance.now() - 1;
    blocks[child.identity] = {
      kind: 'running',
      sinceMs,
      blockedMs: 10_250,
      isStuck: true,
      dumps: 1,
      dumpedAtMs: 0,
      lastDump: false,
      ...more,
    };
  };
  return {
    dumps,
    child,
    answer,
    block,
    blocks,
    written,
    said,
    orders,
    pass: (ms: number) => t.mock.timers.tick(ms),
  };
}

describe('a dump', () => {
  it('is asked for, completed, said and written', async (t) => {
    const { dumps, child, answer, block, written, said } = setUp(t, { clockOffsetMs: 1_000 });
    block();
    const asked = dumps.request(child, 'stuck');
    answer();
    const record = await asked;
    assert.deepEqual(
      [record?.identity, record?.slot, record?.trigger, record?.blockedMs, record?.kind],
      [child.identity, 1, 'stuck', 10_250, 'javascript'],
    );
    assert.equal(record?.job?.startedAtMs, (dumpRecord(1).job?.startedAtMs ?? 0) + 1_000);
    assert.deepEqual(written, [record]);
    assert.deepEqual([said[0]?.level, said[0]?.message], ['warn', 'dump']);
  });

  it('is one for all who ask while it is taken', async (t) => {
    const { dumps, child, answer, orders, written } = setUp(t);
    const asked = [
      dumps.request(child, 'command'),
      dumps.request(child, 'signal'),
      dumps.request(child, 'stuck'),
    ];
    assert.equal(orders.length, 1);
    answer();
    const ids = new Set((await Promise.all(asked)).map((record) => record?.id));
    assert.deepEqual([ids.size, written.length], [1, 1]);
  });

  it('is looked for from outside where the watchdog does not answer, says nonsense, or is none', async (t) => {
    const { dumps, child, answer, pass } = setUp(t);
    const late = dumps.request(child, 'command');
    pass(2_000);
    assert.deepEqual([(await late)?.kind, (await late)?.jobs.length], ['unseen', 1]);
    const odd = dumps.request(child, 'command');
    answer('nonsense');
    assert.equal((await odd)?.kind, 'unseen');
    const without = setUp(t, { watchdog: false });
    const outside = await without.dumps.request(without.child, 'command');
    assert.match(outside?.notes.join() ?? '', /--no-watchdog/);
  });

  it('of a child that ends before is none', async (t) => {
    const { dumps, child, written } = setUp(t);
    const asked = dumps.request(child, 'stuck');
    dumps.forget(child);
    assert.equal(await asked, null);
    assert.deepEqual(written, []);
  });

  it('about a job names that job if the loop turns', async (t) => {
    const { dumps, child, answer } = setUp(t);
    const asked = dumps.request(child, 'job-timeout', { queue: 'mail', id: '7' });
    answer({ ...FINDINGS, kind: 'turning', stack: [] });
    assert.deepEqual([(await asked)?.kind, (await asked)?.job?.id], ['job', '7']);
    const blocked = dumps.request(child, 'job-timeout', { queue: 'mail', id: '9' });
    answer();
    assert.deepEqual([(await blocked)?.kind, (await blocked)?.job?.id], ['javascript', '7']);
  });

  it('holds no command line, and no password even where it may', async (t) => {
    for (const details of [false, true]) {
      const { dumps, child, answer, written, said } = setUp(t, { details });
      const asked = dumps.request(child, 'command', null, ['see redis://me:secret@host']);
      const command = 'psql postgres://me:secret@db/x';
      answer({ ...FINDINGS, processes: [{ pid: 1, command, state: 'S', ageMs: 1, job: null }] });
      const record = await asked;
      assert.equal(record?.processes[0]?.command, details ? 'psql postgres://me:***@db/x' : 'psql');
      assert.doesNotMatch(JSON.stringify([record, written, said]), /secret/);
    }
  });

  it('explains the end of its block, and of no other', async (t) => {
    const { dumps, child, answer, block, blocks } = setUp(t);
    block();
    const asked = dumps.request(child, 'stuck');
    answer();
    const record = await asked;
    assert.equal(dumps.latest(child.identity), record);
    const exit = {
      identity: child.identity,
      exit: { code: null, signal: 'SIGKILL' as const },
      waiting: [],
      drained: null,
      uncaught: null,
    };
    const notice = noticeOf(exit, 'stuck', 1, record);
    assert.deepEqual(notice.pinned, { queue: 'mail', id: '7' });
    assert.match(notice.detail, /^in RegExp\.test ← parse/);
    assert.equal(noticeOf(exit, 'signal', 1, record).pinned, null);
    const job = { queue: 'mail', id: '8' };
    const uncaught = { type: 'uncaught', phase: 'run', message: '', stack: '', job } as const;
    assert.deepEqual(noticeOf({ ...exit, uncaught }, 'uncaught', 1, record).pinned, job);
    delete blocks[child.identity];
    assert.equal(dumps.latest(child.identity), null);
    block({ sinceMs: performance.now() + 1 });
    assert.equal(dumps.latest(child.identity), null);
  });

  it('follows the return of a native call', async (t) => {
    const { dumps, child, written } = setUp(t);
    dumps.hear(child, { type: 'returned', findings: { ...FINDINGS, isAfterBlock: true } });
    dumps.hear(child, { type: 'returned', findings: 'nonsense' });
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(
      written.map(({ isAfterBlock }) => isAfterBlock),
      [true],
    );
  });
});

describe('stored dumps', () => {
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

  it('are read newest first, by child and by id; what is malformed is skipped; they are capped', async () => {
    const namespace = `dumps-${++namespaces}`;
    const key = `swarm:{${namespace}}:dumps`;
    const stream = new DumpStream(client, namespace);
    const registry = new Registry({ redis: client as never, namespace });
    assert.deepEqual(await registry.dumps(), []);
    for (const at of [1, 3, 2]) await stream.add(dumpRecord(at));
    assert.deepEqual(await registry.dumps(), [dumpRecord(3), dumpRecord(2), dumpRecord(1)]);
    assert.deepEqual(await registry.dumps({ of: '2' }), [dumpRecord(2)]);
    assert.deepEqual(await registry.dumps({ of: 'web1:3:aa' }), [dumpRecord(3)]);
    assert.deepEqual(await registry.dumps({ ids: ['dump-1'] }), [dumpRecord(1)]);
    await client.xadd(key, '*', 'dump', 'nonsense');
    assert.equal((await registry.readDumps()).warnings.length, 1);
    for (let at = 10; at < 400; at += 1) await stream.add(dumpRecord(at));
    assert.ok((await client.xlen(key)) < 300);
    assert.ok((await client.pttl(key)) > 86_400_000);
  });

  it('wait for a Redis that is away', async () => {
    let isAway = true;
    const added: string[] = [];
    const fake = {
      xadd: async (...args: unknown[]) => {
        if (isAway) throw new Error('gone');
        added.push((JSON.parse(String(args.at(-1))) as DumpRecord).id);
      },
      pexpire: async () => 1,
    };
    const stream = new DumpStream(fake as never, 'x');
    for (let at = 0; at < 60; at += 1) await stream.add(dumpRecord(at));
    isAway = false;
    await stream.retry();
    assert.deepEqual([added.length, added[0], added.at(-1)], [50, 'dump-10', 'dump-59']);
    await stream.retry();
    assert.equal(added.length, 50);
  });
});
