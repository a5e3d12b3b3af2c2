import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { jobs, jobsReport } from '../dist/commands/jobs.js';
import { ps, psReport } from '../dist/commands/ps.js';
import { clientCommand, redisCommand } from '../dist/commands/redis.js';
import type { Screen } from '../dist/commands/screen.js';
import { cellWidth } from '../dist/commands/terminal-text.js';
import { connect } from '../dist/redis/connect.js';
import { startEmbedded, stateDirectory } from '../dist/redis/embedded.js';
import { whenReady } from '../dist/redis/ready.js';
import { parseRedisUrl } from '../dist/redis/url.js';
import { jobsOf } from '../dist/registry/reader.js';
import type { ChildRecord, MasterRecord } from '../dist/registry/schema.js';
import { RegistryWriter } from '../dist/registry/writer.js';
import { startRedis, type TestRedis } from './redis-server.js';

const NOW_MS = 1_700_000_000_000;
const URL_SHOWN = 'redis://127.0.0.1:6379';

function child(slot: number, more: Partial<ChildRecord> = {}): ChildRecord {
  return {
    identity: `web-1:${5000 + slot}:n`,
    slot,
    group: 'default',
    state: 'up',
    generation: 0,
    pid: 5000 + slot,
    pidStartTicks: null,
    startedAtMs: NOW_MS - 3_700_000,
    readyAtMs: NOW_MS - 3_699_000,
    beatAtMs: NOW_MS - 400,
    rssBytes: 112e6,
    pssBytes: 61.4e6,
    heapUsedBytes: null,
    heapLimitBytes: null,
    cpuPercent: 12.6,
    loopLagMs: 3,
    elu: 0.1,
    busy: 2,
    concurrency: 5,
    jobs: [],
    processed: 1234,
    failed: 0,
    restarts: 1,
    lastDeath: null,
    stuckSinceMs: null,
    workers: [],
    ...more,
  };
}

function master(children: ChildRecord[], more: Partial<MasterRecord> = {}): MasterRecord {
  const [identity, host, pid, startedAtMs] = ['web-1:4711:k3f9', 'web-1', 4711, NOW_MS - 3_710_000];
  return {
    identity,
    host,
    pid,
    state: 'up',
    generation: 0,
    startedAtMs,
    beatAtMs: NOW_MS - 1_000,
    stale: false,
    tag: 'mail',
    version: '0.1.0',
    count: children.length,
    children,
    info: {
      ...{
        identity,
        host,
        pid,
        startedAtMs,
        bootId: null,
        pidNamespace: null,
        pidStartTicks: null,
        redisId: null,
      },
      ...{ version: '0.1.0', node: 'v20', tag: 'mail', labels: [], app: './worker.js', config: {} },
    },
    owed: [],
    jobMemory: [],
    jobDurations: [],
    clockOffsetMs: null,
    rttUs: 200,

    ...more,
  };
}

const reading = (masters: MasterRecord[]) => ({
  snapshot: { masters, redisTimeMs: NOW_MS, warnings: [] },
  url: URL_SHOWN,
});

class TestScreen implements Screen {
  width = 80;
  printed = '';
  notes = '';
  print(text: string): Promise<void> {
    this.printed += text;
    return Promise.resolve();
  }
  note(text: string): void {
    this.notes += text;
  }
}

const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.constantFrom('\u001b]0;owned\u0007', 'two\nlines', '\u202ekcab', '日本語ジョブ'.repeat(20)),
);
const anyNumber = fc.oneof(fc.nat(), fc.nat({ max: 100 }), fc.double({ min: 0, max: 1e15, noNaN: true }));
const anyChild = fc
  .record({
    group: fc.oneof(fc.constant('default'), anyText),
    state: fc.constantFrom('starting', 'up', 'quiet', 'stopping', 'backoff', 'failed'),
    pid: fc.nat({ max: 4_194_304 }),
    generation: fc.nat(),
    startedAtMs: anyNumber,
    beatAtMs: fc.option(anyNumber),
    rssBytes: fc.option(anyNumber),
    cpuPercent: fc.option(anyNumber),
    loopLagMs: fc.option(anyNumber),
    busy: fc.nat(),
    processed: fc.nat(),
    jobs: fc.array(fc.record({ queue: anyText, id: anyText, name: anyText, startedAtMs: anyNumber }), {
      maxLength: 3,
    }),
  })
  .map((more) => child(0, more as Partial<ChildRecord>));

describe('the text of ps', () => {
  it('is a header a master and a row a child, in 80 columns', () => {
    const children = [
      child(0),
      child(1, { state: 'backoff', restarts: 12 }),
      child(2, { stuckSinceMs: NOW_MS - 9_000, loopLagMs: 9_000 }),
    ];
    const lines = psReport(reading([master(children)]), 'default', 80).split('\n');
    assert.equal(lines.length, 6);
    assert.equal(lines[0], 'web-1:4711:k3f9  tag mail  up  2/3 up  generation 0  swarm 0.1.0');
    assert.equal(lines[1], '    redis://127.0.0.1:6379');
    assert.match(
      lines[2] ?? '',
      /^SLOT +STATE +GEN +PID +PSS +RSS +CPU% +LAG +BEAT +BUSY +DONE +RESTARTS +UPTIME$/,
    );
    assert.match(lines[3] ?? '', /^ +0 +up +0 +5000 +61MB +112MB +13 +3ms +400ms +2\/5 +1234 +1 +1h1m$/);
    assert.match(lines[4] ?? '', /^ +1 +backoff +0 +- .* 1234 +12 +-$/);
    assert.match(lines[5] ?? '', /^ +2 +stuck +.* 9s /);
  });

  it('keeps every column at 80 with large values', () => {
    const large = child(511, {
      state: 'starting',
      pid: 4_194_304,
      generation: 12,
      pssBytes: 999e6,
      rssBytes: 999e6,
      cpuPercent: 1600,
    });
    const more = {
      busy: 100,
      concurrency: 100,
      processed: 999_999,
      loopLagMs: 999,
      beatAtMs: NOW_MS - 59_000,
      restarts: 999,
    };
    const [, , header, row] = psReport(reading([master([{ ...large, ...more }])]), 'default', 80).split('\n');
    assert.match(
      header ?? '',
      /SLOT STATE .*GEN .*PID .*PSS .*RSS .*CPU% .*LAG .*BEAT .*BUSY .*DONE .*RST .*UPTIME/,
    );
    assert.match(row ?? '', /999999/);
  });

  it('marks stale masters, shows groups, and says where nothing is', () => {
    const grouped = [child(0, { group: 'mail' }), child(1, { group: 'default' })];
    assert.match(psReport(reading([master(grouped)]), 'default', 100), /^GROUP +SLOT/m);
    const stale = psReport(reading([master([], { stale: true, beatAtMs: NOW_MS - 200_000 })]), 'default', 80);
    assert.match(stale, /STALE for 3m 20s \(was up\)/);
    const empty = psReport(reading([]), 'blue', 80);
    assert.match(empty, /namespace blue on redis:\/\/127\.0\.0\.1:6379.*swarm --count/s);
  });

  it('fits any terminal, whatever others have written', () => {
    fc.assert(
      fc.property(
        fc.array(anyChild, { maxLength: 4 }),
        anyText,
        anyText,
        fc.integer({ min: 20, max: 200 }),
        (children, tag, host, width) => {
          const masters = [master(children, { tag, host, identity: `${host}:1:n` })];
          for (const text of [
            psReport(reading(masters), 'default', width),
            jobsReport(reading(masters), 'default', width),
          ]) {
            if (/^No (master|job) /.test(text)) continue;
            for (const line of text.split('\n')) {
              assert.ok(cellWidth(line) <= width, `${cellWidth(line)} > ${width}: ${line}`);
              assert.doesNotMatch(line, /[\p{C}\p{Zl}\p{Zp}]/u);
            }
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('the text of jobs', () => {
  it('is a row a job, the longest running first', () => {
    const job = (id: string, sinceMs: number) => ({
      queue: 'mail',
      id,
      name: 'welcome\n',
      startedAtMs: NOW_MS - sinceMs,
    });
    const masters = [
      master([child(0, { jobs: [job('7', 2_000)] }), child(1, { jobs: [job('x'.repeat(200), 90_000)] })]),
    ];
    const lines = jobsReport(reading(masters), 'default', 80).split('\n');
    assert.match(lines[0] ?? '', /^QUEUE +ID +NAME +SINCE +SLOT +PID +HOST$/);
    assert.match(lines[1] ?? '', /^mail +x+… +welcome\\n +1m 30s +1 +5001 +web-1$/);
    assert.match(lines[2] ?? '', /^mail +7 +welcome\\n +2s +0 +5000 +web-1$/);
    assert.equal(lines.length, 3);
  });

  it('says when there is none', () => {
    assert.match(jobsReport(reading([master([])]), 'blue', 80), /No job runs in namespace blue .*masters: 1/);
  });
});

describe('the commands', () => {
  let server: TestRedis;
  const cleanups: (() => unknown)[] = [];
  const base = { redisTlsNoVerify: false, namespace: 'default', json: false };
  const stateHome = mkdtempSync(join(tmpdir(), 'swarm-ps-'));
  const stateHomeBefore = process.env['XDG_STATE_HOME'];

  before(async () => {
    process.env['XDG_STATE_HOME'] = stateHome;
    server = await startRedis({ args: ['--requirepass', 'sesame'] });
    cleanups.push(server.stop);
  });
  after(async () => {
    for (const cleanup of cleanups.reverse()) await cleanup();
    if (stateHomeBefore === undefined) delete process.env['XDG_STATE_HOME'];
    else process.env['XDG_STATE_HOME'] = stateHomeBefore;
    rmSync(stateHome, { recursive: true, force: true });
  });

  it('print tables or one JSON document, and no password', async () => {
    const redis = `redis://:sesame@127.0.0.1:${server.port}`;
    const client = connect(parseRedisUrl(redis, 'test'), { name: 'test', role: 'registry' });
    cleanups.push(() => client.disconnect());
    await whenReady(client, redis);
    const evil = [{ queue: 'mail', id: '\u001b[2J', name: '\u009b\u202e', startedAtMs: Date.now() }];
    const { info, state, generation, count, children } = master([child(0, { jobs: evil }), child(1)]);
    await new RegistryWriter(client, 'default').beat(
      { info, state, generation, count, children, owed: [], jobMemory: [], jobDurations: [] },
      null,
    );

    const text = new TestScreen();
    assert.equal(await ps({ ...base, redis }, text), 0);
    assert.match(text.printed, /^web-1:4711:k3f9 .* 2\/2 up.*redis:\/\/\*\*\*@127/s);
    assert.doesNotMatch(text.printed, /sesame/);

    const json = new TestScreen();
    assert.equal(await ps({ ...base, redis, json: true }, json), 0);
    const masters = JSON.parse(json.printed) as MasterRecord[];
    assert.deepEqual(
      masters.map(({ identity, stale }) => ({ identity, stale })),
      [{ identity: 'web-1:4711:k3f9', stale: false }],
    );
    assert.deepEqual(masters[0]?.children, children);
    assert.doesNotMatch(json.printed, /[\u007f-\u009f\u202e]/);

    const running = new TestScreen();
    assert.equal(await jobs({ ...base, redis, json: true }, running), 0);
    assert.deepEqual(JSON.parse(running.printed), jobsOf({ masters, redisTimeMs: 0, warnings: [] }));
    const table = new TestScreen();
    await jobs({ ...base, redis }, table);
    assert.match(table.printed, /\\u\{1b\}\[2J/);

    const nobody = new TestScreen();
    await ps({ ...base, redis, namespace: 'nobody', json: true }, nobody);
    assert.equal(nobody.printed, '[]');

    await client.hset('swarm:{default}:master:web-1:4711:k3f9', 'child:\u001b[2J', 'junk');
    const damaged = new TestScreen();
    await ps({ ...base, redis, json: true }, damaged);
    assert.equal((JSON.parse(damaged.printed) as MasterRecord[])[0]?.children.length, 2);
    assert.match(damaged.notes, /malformed child:\\u\{1b\}\[2J skipped/);

    await assert.rejects(ps({ ...base, redis: redis.replace('sesame', 'wrong') }, new TestScreen()), {
      code: 'SWARM_REDIS_AUTH',
      exitCode: 69,
    });
    await assert.rejects(ps({ ...base, redis: 'nonsense' }, new TestScreen()), {
      code: 'SWARM_BAD_REDIS_URL',
      exitCode: 64,
    });
  });

  it('find the embedded Redis, or say that none runs', async () => {
    for (const redis of [null, 'embedded']) {
      await assert.rejects(ps({ ...base, redis }, new TestScreen()), {
        code: 'SWARM_REDIS_MISSING',
        exitCode: 69,
      });
      await assert.rejects(redisCommand({ ...base, redis, action: 'url' }, new TestScreen()), {
        code: 'SWARM_REDIS_MISSING',
      });
    }
    const none = new TestScreen();
    assert.equal(await redisCommand({ ...base, redis: null, action: 'stop' }, none), 0);
    assert.match(none.printed, /No embedded Redis runs/);

    const embedded = await startEmbedded({ stateDir: stateDirectory(), log: () => {} });
    cleanups.push(() => embedded.stop().catch(() => {}));
    const url = new TestScreen();
    assert.equal(await redisCommand({ ...base, redis: null, action: 'url' }, url), 0);
    assert.equal(url.printed, embedded.url);
    const listed = new TestScreen();
    assert.equal(await ps({ ...base, redis: null }, listed), 0);
    assert.match(listed.printed, /No master/);
    await assert.rejects(redisCommand({ ...base, redis: 'redis://h', action: 'stop' }, new TestScreen()), {
      code: 'SWARM_NOT_EMBEDDED',
      exitCode: 64,
    });
    const stopped = new TestScreen();
    assert.equal(await redisCommand({ ...base, redis: null, action: 'stop', json: true }, stopped), 0);
    assert.equal((JSON.parse(stopped.printed) as { pid: number }).pid, embedded.pid);
  });

  it('open a client without the password on its command line', () => {
    const shown = (url: string, insecure = false) => {
      const { args, env } = clientCommand(url, insecure);
      return [args.join(' '), env];
    };
    assert.deepEqual(shown('redis://:pw@h:7000/3'), ['-h h -p 7000 -n 3', { REDISCLI_AUTH: 'pw' }]);
    assert.deepEqual(shown('rediss://u:pw@h', true), [
      '-h h -p 6379 --tls --insecure --user u',
      { REDISCLI_AUTH: 'pw' },
    ]);
    assert.deepEqual(shown('unix:///r.sock?db=1'), ['-s /r.sock -n 1', {}]);
    assert.deepEqual(shown('redis+cluster://a:1,b:2'), ['-h a -p 1 -c', {}]);
    assert.deepEqual(shown('redis+sentinel://:pw@a,b/m?sentinelPassword=sp'), [
      '-h a -p 26379',
      { REDISCLI_AUTH: 'sp' },
    ]);
  });
});
