/** What `swarm doctor` finds about a machine and an app: by files of the kernel where its own may not be changed. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { judgePool } from '../dist/doctor/checks/database-pool.js';
import { judgeHeaps } from '../dist/doctor/checks/heap-limits.js';
import { judgeJemalloc } from '../dist/doctor/checks/jemalloc.js';
import { judgeArenas } from '../dist/doctor/checks/malloc-arenas.js';
import { judgeUnits, parseSpan, unitOf } from '../dist/doctor/checks/service-unit.js';
import { judgeStartedBy } from '../dist/doctor/checks/started-by.js';
import { finds, temporaryDirectory } from './doctor-exam.js';
import { startRedis, type TestRedis } from './redis-server.js';

let redis: TestRedis;
before(async () => {
  redis = await startRedis();
});
after(() => redis.stop());

/** A directory with these files in it. */
function tree(t: TestContext, files: Record<string, string>): string {
  const root = temporaryDirectory(t);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

const MEMINFO = 'MemTotal:        8000000 kB\nMemAvailable:    4000000 kB\n';

describe('doctor on a machine', () => {
  it('with less memory than the children may take', async (t) => {
    const root = tree(t, { 'proc/meminfo': MEMINFO });
    const flags = { count: '4', 'max-memory': '4GB' };
    const found =
      /4 children of the configuration here may take 16000MB by --max-memory, and the machine has 8192MB/;
    await finds(
      redis.url,
      'memory-limits',
      { status: 'warn', found, cure: /--max-memory 2023MB/ },
      { root, flags: raw(flags) },
    );
  });

  for (const [version, cgroup, limit] of [
    [1, '4:memory:/pod/app', 'memory/pod/memory.limit_in_bytes'],
    [2, '0::/pod/app', 'pod/memory.max'],
  ] as const) {
    it(`with a cgroup of version ${version} that is too small, any level above`, async (t) => {
      const root = tree(t, {
        'proc/meminfo': MEMINFO,
        'proc/self/cgroup': `${cgroup}\n`,
        [`sys/fs/cgroup/${limit}`]: '1000000000\n',
      });
      const flags = { count: '4', 'max-memory': '400MB' };
      const found = new RegExp(
        `may take 1600MB by --max-memory, and its cgroup \\(/sys/fs/cgroup/${limit}\\) has 1000MB`,
      );
      const env = { DYNO: 'worker.1' };
      const { why } = await finds(
        redis.url,
        'memory-limits',
        { status: 'warn', found },
        { root, flags: raw(flags), env },
      );
      assert.match(why ?? '', /R14.*R15/);
      const fits = { ...flags, 'max-memory': '200MB' };
      await finds(
        redis.url,
        'memory-limits',
        { status: 'ok', found: /take 800MB/ },
        { root, flags: raw(fits) },
      );
    });
  }

  it('whose kernel kills all of a container at once', async (t) => {
    const root = tree(t, {
      'proc/self/cgroup': '0::/pod/app\n',
      'sys/fs/cgroup/pod/memory.oom.group': '1\n',
      'sys/fs/cgroup/pod/app/memory.oom.group': '0\n',
    });
    const expected = {
      status: 'warn',
      found: /\/sys\/fs\/cgroup\/pod\/memory\.oom\.group is 1/,
      cure: /--max-memory/,
    } as const;
    await finds(redis.url, 'oom-group', expected, { root });
  });

  it('with too few processes', async (t) => {
    const root = tree(t, {
      'proc/self/cgroup': '0::/app\n',
      'sys/fs/cgroup/app/pids.max': '64\n',
      'sys/fs/cgroup/app/pids.current': '20\n',
    });
    const expected = {
      status: 'fail',
      found: /20 of 64 processes and threads are there/,
      cure: /TasksMax/,
    } as const;
    await finds(redis.url, 'process-limits', expected, { root, flags: { count: '8' } });
  });

  it('that allows few open files', async (t) => {
    const root = tree(t, {
      'proc/self/limits':
        'Limit                     Soft Limit           Hard Limit           Units     \nMax open files            256                  4096                 files     \n',
    });
    await finds(
      redis.url,
      'open-files',
      { status: 'warn', found: /may have no more than 256 files/, cure: /LimitNOFILE/ },
      { root },
    );
  });

  it('that promises no memory', async (t) => {
    const root = tree(t, { 'proc/sys/vm/overcommit_memory': '2\n', 'proc/meminfo': MEMINFO });
    await finds(
      redis.url,
      'overcommit',
      { status: 'warn', found: /overcommit_memory is 2/, cure: /sysctl/ },
      { root },
    );
    const low = tree(t, {
      'proc/sys/vm/overcommit_memory': '0\n',
      'proc/meminfo': 'MemAvailable:    100 kB\n',
    });
    await finds(
      redis.url,
      'overcommit',
      { status: 'warn', found: /is 0, and the Redis here has/ },
      { root: low },
    );
  });

  it('whose Node has come to its end', async () => {
    const now = () => Date.parse('2040-01-01');
    await finds(
      redis.url,
      'node-version',
      { status: 'warn', found: /runs on Node \S+, whose line ended on 20/ },
      { now },
    );
    const soon = () => Date.parse('2020-01-01');
    await finds(redis.url, 'node-version', { status: 'ok', found: /Node \d/ }, { now: soon });
  });
});

describe('doctor on an app', () => {
  const pack = (name: string, version: string) => JSON.stringify({ name, version });

  it('with two versions of bullmq, or of ioredis beside it', async (t) => {
    const root = tree(t, {
      'app/worker.js': '',
      'app/node_modules/bullmq/package.json': pack('bullmq', '6.7.0'),
      'app/node_modules/ioredis/package.json': pack('ioredis', '6.0.0'),
      'app/node_modules/other/node_modules/ioredis/package.json': pack('ioredis', '4.0.0'),
    });
    const app = join(root, 'app/worker.js');
    await finds(
      redis.url,
      'duplicate-packages',
      { status: 'ok', found: /bullmq 6\.7\.0, ioredis 6\.0\.0/ },
      { app },
    );
    mkdirSync(join(root, 'app/node_modules/@acme/jobs/node_modules/bullmq/node_modules/ioredis'), {
      recursive: true,
    });
    const nested = join(root, 'app/node_modules/@acme/jobs/node_modules/bullmq');
    writeFileSync(join(nested, 'package.json'), pack('bullmq', '5.56.0'));
    writeFileSync(join(nested, 'node_modules/ioredis/package.json'), pack('ioredis', '5.4.1'));
    const found = /the app sees bullmq 6\.7\.0, 5\.56\.0: [\s\S]*the app sees ioredis 6\.0\.0, 5\.4\.1/;
    await finds(redis.url, 'duplicate-packages', { status: 'warn', found, cure: /npm dedupe/ }, { app });
  });

  it('whose pools are larger than its database allows', async () => {
    const expected = {
      status: 'fail',
      found: /8 children × 20 \(a pool of 20\) = 160, in a roll 180, of 100/,
      cure: /a pool of at most 10/,
    } as const;
    await finds(redis.url, 'database-pool', expected, { dbMax: 100, dbPool: 20, flags: { count: '8' } });
    const small = judgePool({ allowed: 100, pool: 2, children: 2, masters: 1, concurrency: 10 });
    assert.match(
      `${small.status} ${small.found}`,
      /warn a child runs 10 jobs at once, and its pool has 2 connections/,
    );
    assert.equal(
      judgePool({ allowed: 100, pool: null, children: 4, masters: 1, concurrency: 10 }).status,
      'ok',
    );
  });
});

describe('doctor judges', () => {
  it('a unit of systemd', () => {
    const good = {
      OOMPolicy: 'continue',
      KillMode: 'mixed',
      TimeoutStopUSec: '33s',
      Restart: 'always',
      Type: 'exec',
    };
    const unit = { name: 'app.service', isOfUser: false, drainTimeoutMs: 25_000 };
    assert.equal(judgeUnits({ units: [{ ...unit, properties: good }] }).status, 'ok');
    const bad = { OOMPolicy: 'stop', KillMode: 'process', TimeoutStopUSec: '10s', Restart: 'no' };
    const { status, found, details = [] } = judgeUnits({ units: [{ ...unit, properties: bad }] });
    assert.equal(status, 'warn');
    const text = [found, ...details].join('\n');
    for (const part of ['OOMPolicy=stop', 'KillMode=process', 'killed 10s after', 'Restart=no'])
      assert.ok(text.includes(part), part);
  });

  it('which unit a process is in', () => {
    assert.deepEqual(unitOf('0::/system.slice/app.service/child\n'), {
      name: 'app.service',
      isOfUser: false,
    });
    assert.deepEqual(unitOf('1:name=systemd:/user.slice/user@0.service/app.slice/my.service\n'), {
      name: 'my.service',
      isOfUser: true,
    });
    assert.equal(unitOf('0::/user.slice/user@1000.service/session.scope\n'), null);
    assert.deepEqual(['1min 30s', '250ms', 'infinity', ''].map(parseSpan), [90_000, 250, null, null]);
  });

  it('who started a master', () => {
    const by = (pid: number, ...ancestors: string[][]) =>
      judgeStartedBy({ masters: [{ pid, ancestors, zombies: 2 }] });
    assert.equal(by(5, ['bash'], ['systemd']).status, 'ok');
    assert.match(by(5, ['sh', '-c', 'swarm'], ['npm run start']).found, /was started by npm/);
    assert.match(
      by(5, ['node', '/usr/lib/node_modules/npm/bin/npx-cli.js', 'swarm']).found,
      /was started by npx/,
    );
    assert.match(by(1).found, /PID 1 here.*2 dead processes/);
  });

  it('heaps, arenas and jemalloc', () => {
    const heap = { slot: 0, pid: 7, heapUsedBytes: 50e6, heapLimitBytes: 4e9, isOurs: false };
    assert.equal(judgeHeaps({ children: [{ ...heap, bound: null }] }).status, 'ok');
    assert.match(
      judgeHeaps({ children: [{ ...heap, bound: { bytes: 512e6, what: 'x' } }] }).found,
      /may grow to 4000MB, and x is 512MB/,
    );
    const low = { ...heap, heapLimitBytes: 290e6, bound: { bytes: 150e6, what: 'x' } };
    assert.equal(judgeHeaps({ children: [low] }).status, 'warn');
    assert.equal(judgeHeaps({ children: [{ ...low, isOurs: true }] }).status, 'ok');
    assert.match(
      judgeHeaps({ children: [{ ...heap, heapUsedBytes: 3.9e9, bound: null }] }).found,
      /nearly full/,
    );
    const arenas = (value: string | null, jemalloc = false) =>
      judgeArenas({ children: [{ pid: 7, arenas: value, jemalloc }], cpus: 8 });
    assert.deepEqual(
      [arenas('2').status, arenas('32').status, arenas(null).status, arenas(null, true).status],
      ['ok', 'warn', 'warn', 'ok'],
    );
    const child = { pid: 7, wanted: false, loaded: false, rssBytes: 2e9, heapUsedBytes: 100e6 };
    assert.match(
      judgeJemalloc({ children: [child], isInstalled: false }).found,
      /2000MB in memory, and a heap of 100MB/,
    );
    assert.match(
      judgeJemalloc({ children: [{ ...child, wanted: true }], isInstalled: true }).found,
      /has not loaded it/,
    );
    assert.equal(
      judgeJemalloc({ children: [{ ...child, rssBytes: 150e6 }], isInstalled: true }).status,
      'ok',
    );
  });
});

/** Flags as the options call them. */
function raw(flags: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(flags).map(([name, value]) => [name === 'max-memory' ? 'maxMemory' : name, value]),
  );
}
