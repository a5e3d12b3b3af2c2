import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { logicalCwd, resolveApp } from '../dist/app-path.js';
import { describeConfig } from '../dist/commands/config.js';
import { type LoadConfigInput, loadConfig, loadConfigWithoutApp, loadSharedOptions } from '../dist/config.js';
import {
  allowedCpus,
  cgroupDirectories,
  cpusWithin,
  parseCfsQuota,
  parseCpuMax,
} from '../dist/process/cpus.js';

let cwd: string;

beforeEach(() => {
  cwd = realpathSync(mkdtempSync(join(tmpdir(), 'swarm-load-')));
});
afterEach(() => rmSync(cwd, { recursive: true, force: true }));

function write(name: string, text = ''): string {
  writeFileSync(join(cwd, name), text);
  return join(cwd, name);
}

function input(over: Partial<LoadConfigInput> = {}): LoadConfigInput {
  const { env = {}, ...rest } = over;
  return { argv: {}, env: { PATH: process.env.PATH, ...env }, cwd, isTty: false, cpus: () => 3, ...rest };
}

const NO_LIMITS = {
  maxMemoryBytes: null,
  maxMemoryHardBytes: null,
  maxMemoryHardIsGiven: false,
  maxJobs: null,
  maxAgeMs: null,
};

describe('loadConfig', () => {
  it('has the documented defaults', async () => {
    const app = write('worker.mjs');
    const { config, origins } = await loadConfig(input());
    assert.deepEqual(config, {
      app,
      appArguments: [],
      groups: [{ name: 'default', count: 3, concurrency: null, queues: [], ...NO_LIMITS, env: {} }],
      redis: null,
      redisTlsNoVerify: false,
      prefix: 'bull',
      namespace: 'default',
      drainTimeoutMs: 25_000,
      bootTimeoutMs: 60_000,
      stuckAfterMs: 10_000,
      stuckKillAfterMs: 60_000,
      stuckKillMindsLocks: true,
      jobTimeoutMs: null,
      dumpDetails: false,
      jobTimeoutAction: 'dump',
      quarantineAfter: 3,
      nodeArguments: [],
      port: null,
      host: '127.0.0.1',
      tag: 'app',
      labels: [],
      strict: false,
      watchdog: true,
      jemalloc: false,
      logFormat: 'json',
      logLevel: 'info',
    });
    assert.ok(Object.values(origins).every((origin) => origin === 'default'));
    assert.ok(Object.isFrozen(config) && Object.isFrozen(config.groups[0]));
    assert.equal((await loadConfig(input({ isTty: true }))).config.logFormat, 'pretty');
  });

  it('never counts more children than are allowed', async () => {
    write('worker.js');
    assert.equal((await loadConfig(input({ cpus: () => 4000 }))).config.groups[0]?.count, 512);
  });

  it('says where each value came from', async () => {
    write('worker.js');
    write('swarm.config.json', '{"namespace": "shop", "timeout": "1m", "count": 9}');
    const { config, origins } = await loadConfig(
      input({ argv: { count: '2' }, env: { SWARM_TIMEOUT: '5s', REDIS_URL: 'redis://h' } }),
    );
    assert.deepEqual(
      [config.groups[0]?.count, config.drainTimeoutMs, config.namespace, config.redis],
      [2, 5000, 'shop', 'redis://h'],
    );
    assert.deepEqual(
      ['count', 'timeout', 'namespace', 'redis', 'prefix'].map((name) => origins[name]),
      ['flag', 'env SWARM_TIMEOUT', 'file swarm.config.json', 'env REDIS_URL', 'default'],
    );
  });

  it('reads the file that --config or SWARM_CONFIG names', async () => {
    write('worker.js');
    mkdirSync(join(cwd, 'etc'));
    write('etc/a.json', '{"prefix": "a", "app": "../worker.js"}');
    write('etc/b.json', '{"prefix": "b"}');
    const named = await loadConfig(
      input({ argv: { config: 'etc/a.json' }, env: { SWARM_CONFIG: 'etc/b.json' } }),
    );
    assert.equal(named.config.prefix, 'a');
    assert.equal(named.config.app, join(cwd, 'worker.js'), 'an app in a file is relative to the file');
    assert.equal((await loadConfig(input({ env: { SWARM_CONFIG: 'etc/b.json' } }))).config.prefix, 'b');
    await assert.rejects(
      loadConfig(input({ env: { SWARM_CONFIG: 'no.json' } })),
      /SWARM_CONFIG names no.json/,
    );
  });

  it('takes the app from argument, SWARM_APP, file, directory, in this order', async () => {
    for (const name of ['a.js', 'b.js', 'c.js', 'worker.js']) write(name);
    write('swarm.config.json', '{"app": "./c.js"}');
    const appOf = async (over: Partial<LoadConfigInput>) => {
      const { config, origins } = await loadConfig(input(over));
      return [config.app.slice(cwd.length + 1), origins.app];
    };
    const env = { SWARM_APP: 'b.js' };
    assert.deepEqual(await appOf({ app: 'a', env }), ['a.js', 'argument']);
    assert.deepEqual(await appOf({ env }), ['b.js', 'env SWARM_APP']);
    assert.deepEqual(await appOf({}), ['c.js', 'file swarm.config.json']);
    rmSync(join(cwd, 'swarm.config.json'));
    assert.deepEqual(await appOf({}), ['worker.js', 'default']);
  });

  it('has no app: lists what it looked for, unless one only wants to look', async () => {
    await assert.rejects(
      loadConfig(input()),
      /none of worker.js, worker.mjs, worker.cjs, worker.ts, worker.mts/,
    );
    assert.equal((await loadConfigWithoutApp(input())).config.app, '');
  });

  it('gives the options that other commands share', async () => {
    write('swarm.config.json', '{"namespace": "shop"}');
    const shared = await loadSharedOptions(input({ env: { REDIS_URL: 'redis://h' } }), [
      'redis',
      'namespace',
    ]);
    assert.deepEqual(shared, { redis: 'redis://h', namespace: 'shop' });
  });
});

describe('limits', () => {
  const group = async (argv: LoadConfigInput['argv'], env: NodeJS.ProcessEnv = {}) => {
    write('worker.js');
    return (await loadConfig(input({ argv, env }))).config.groups[0];
  };

  it('of memory: the hard one is half as much again, or what was said, with or without a soft one', async () => {
    const soft = await group({ maxMemory: '512MiB' });
    assert.deepEqual(
      [soft?.maxMemoryBytes, soft?.maxMemoryHardBytes, soft?.maxMemoryHardIsGiven],
      [2 ** 29, 1.5 * 2 ** 29, false],
    );
    const alone = await group({ maxMemoryHard: '1GB' });
    assert.deepEqual(
      [alone?.maxMemoryBytes, alone?.maxMemoryHardBytes, alone?.maxMemoryHardIsGiven],
      [null, 1e9, true],
    );
    const equal = await group({ maxMemory: '1GB', maxMemoryHard: '1GB' });
    assert.equal(equal?.maxMemoryHardBytes, 1e9);
    const lower = group({ maxMemory: '512MB', maxMemoryHard: '511MB' });
    await assert.rejects(
      lower,
      /^SwarmError: --max-memory-hard takes at least what --max-memory is, 512MB, got 511MB: /,
    );
  });

  it('of memory come from a variable that counts MB, too', async () => {
    assert.equal((await group({}, { SWARM_MAXMEM_MB: '512' }))?.maxMemoryBytes, 512e6);
    assert.equal((await group({}, { SWARM_MAXMEM_MB: '1GiB' }))?.maxMemoryBytes, 2 ** 30);
    assert.equal((await group({}, { SWARM_MAXMEM_MB: '512', SWARM_MAX_MEMORY: '1GB' }))?.maxMemoryBytes, 1e9);
    await assert.rejects(
      group({}, { SWARM_MAX_MEMORY: '512' }),
      /SWARM_MAX_MEMORY takes a size .* such as 512MB.* got "512"/,
    );
    await assert.rejects(
      group({}, { SWARM_MAXMEM_MB: '8' }),
      /SWARM_MAXMEM_MB takes a size from 16MB to .*, got "8"/,
    );
    await assert.rejects(
      group({}, { SWARM_MAXMEM_MB: 'lots' }),
      /a bare number only in SWARM_MAXMEM_MB, which counts MB, got "lots"/,
    );
  });
});

describe('groups', () => {
  const two = {
    count: 4,
    concurrency: 7,
    groups: { mail: { count: 2, queues: ['mail'], env: { A: 1 } }, rest: { concurrency: 2 } },
  };
  const withGroups = (content: object = two) => {
    write('worker.js');
    write('swarm.config.json', JSON.stringify(content));
  };

  it('take what they do not say from the file', async () => {
    withGroups();
    const { config, origins } = await loadConfig(input());
    assert.deepEqual(config.groups, [
      {
        ...{ name: 'mail', count: 2, concurrency: 7, queues: [{ name: 'mail', weight: null }] },
        ...{ ...NO_LIMITS, env: { A: '1' } },
      },
      { name: 'rest', count: 4, concurrency: 2, queues: [], ...NO_LIMITS, env: {} },
    ]);
    assert.equal(origins.groups, 'file swarm.config.json');
  });

  it('have limits of their own, of the file, or of a flag', async () => {
    withGroups({
      maxMemory: '300MB',
      groups: { mail: { count: 1, maxMemory: '1GB', maxJobs: 10 }, rest: { count: 1, maxAge: '2h' } },
    });
    const limits = async (over: Partial<LoadConfigInput> = {}) => {
      return (await loadConfig(input(over))).config.groups.map((group) => [
        ...[group.maxMemoryBytes, group.maxMemoryHardBytes, group.maxMemoryHardIsGiven],
        ...[group.maxJobs, group.maxAgeMs],
      ]);
    };
    assert.deepEqual(await limits(), [
      [1e9, 1.5e9, false, 10, null],
      [3e8, 4.5e8, false, null, 7_200_000],
    ]);
    assert.deepEqual(await limits({ argv: { maxMemory: '400MB', maxMemoryHard: '2GB', maxJobs: '5' } }), [
      [4e8, 2e9, true, 5, null],
      [4e8, 2e9, true, 5, 7_200_000],
    ]);
    const hard = limits({ env: { SWARM_MAX_MEMORY_HARD: '500MB' } });
    await assert.rejects(
      hard,
      /at least what --max-memory is, 1GB, got 500MB \(groups.mail in swarm.config.json\)/,
    );
  });

  it('share a concurrency that a flag or variable gives', async () => {
    withGroups();
    const { config } = await loadConfig(input({ env: { SWARM_CONCURRENCY: '9' } }));
    assert.deepEqual(
      config.groups.map((group) => group.concurrency),
      [9, 9],
    );
  });

  it('have counts and queues of their own: who gives one from outside is told, platforms are not', async () => {
    withGroups();
    const message =
      /cannot be used with the groups of swarm.config.json, each has its own: set groups.<name>.count/;
    await assert.rejects(loadConfig(input({ argv: { count: '4' } })), message);
    await assert.rejects(loadConfig(input({ env: { SWARM_COUNT: '4' } })), message);
    await assert.rejects(loadConfig(input({ env: { SWARM_QUEUES: 'a' } })), /SWARM_QUEUES cannot be used/);
    const { config } = await loadConfig(input({ env: { COUNT: '9', NUM_WORKERS: 'many' } }));
    assert.equal(config.groups[0]?.count, 2);
  });

  it('need a count, and may have 512 children together', async () => {
    withGroups({ groups: { mail: {} } });
    await assert.rejects(loadConfig(input()), /groups.mail in swarm.config.json needs a count/);
    withGroups({ groups: { a: { count: 500 }, b: { count: 13 } } });
    await assert.rejects(loadConfig(input()), /add up to at most 512, got 513/);
    withGroups({ groups: { a: { count: 0 } } });
    await assert.rejects(loadConfig(input()), /groups.a.count in swarm.config.json takes .* got "0"/);
  });

  it('are shown without their secrets', async () => {
    withGroups({
      groups: { mail: { count: 2, env: { PASSWORD: 'hunter2' } } },
      redis: 'redis://:hunter2@h/1',
    });
    const shown = JSON.stringify(describeConfig(await loadConfig(input())));
    assert.ok(!shown.includes('hunter2'), shown);
    assert.match(shown, /"redis":\{"value":"redis:\/\/\*+@h\/1","origin":"file swarm.config.json"\}/);
    assert.match(shown, /"PASSWORD":"\*\*\*"/);
  });
});

describe('the path of an app', () => {
  it('may lack its extension, or be a directory', () => {
    const app = write('a.mjs');
    assert.equal(resolveApp('./a', cwd), app);
    assert.equal(resolveApp(app, '/'), app);
    mkdirSync(join(cwd, 'pkg/lib'), { recursive: true });
    assert.throws(() => resolveApp('pkg', cwd), /is a directory in which there is none of index.js/);
    const index = write('pkg/index.cjs');
    assert.equal(resolveApp('pkg', cwd), index);
    write('pkg/package.json', '{"main": "lib/main"}');
    assert.equal(resolveApp('pkg', cwd), index, 'a main that is missing is passed over');
    assert.equal(resolveApp('pkg/', cwd), index);
    const main = write('pkg/lib/main.js');
    assert.equal(resolveApp('pkg', cwd), main);
  });

  it('that is missing says where it was looked for', () => {
    assert.throws(
      () => resolveApp('b', cwd, ' Did you mean swarm ps?'),
      (error: Error & { code?: string }) =>
        error.code === 'SWARM_APP_NOT_FOUND' &&
        error.message ===
          `there is no app "b": looked for ${cwd}/b, also with .js, .mjs, .cjs, .ts, .mts. Did you mean swarm ps?`,
    );
  });

  it('keeps its symlinks, and so does the directory it is relative to', () => {
    mkdirSync(join(cwd, 'r1'));
    write('r1/worker.js');
    symlinkSync('r1', join(cwd, 'current'));
    const current = join(cwd, 'current');
    assert.equal(resolveApp('worker.js', current), join(current, 'worker.js'));
    assert.equal(logicalCwd(join(cwd, 'r1'), { PWD: current }), current);
    assert.equal(logicalCwd(join(cwd, 'r1'), { PWD: cwd }), join(cwd, 'r1'), 'a stale PWD is ignored');
    assert.equal(logicalCwd(cwd, { PWD: './current' }), cwd);
    assert.equal(logicalCwd(cwd, {}), cwd);
  });

  it('gives the tag: the name of the nearest package that has one', async () => {
    write('package.json', '{"name": "@acme/shop"}');
    mkdirSync(join(cwd, 'dist'));
    write('dist/package.json', '{"type": "commonjs"}');
    write('dist/a.js');
    assert.equal((await loadConfig(input({ app: 'dist/a.js' }))).config.tag, '@acme/shop');
    assert.equal((await loadConfig(input({ app: 'dist/a.js', argv: { tag: 'x' } }))).config.tag, 'x');
  });
});

describe('CPUs allowed', () => {
  it('reads the quota of both cgroup versions', () => {
    assert.equal(parseCpuMax('150000 100000\n'), 1.5);
    assert.equal(parseCpuMax('max 100000\n'), null);
    assert.equal(parseCpuMax(''), null);
    assert.equal(parseCfsQuota('-1\n', '100000\n'), null);
    assert.equal(parseCfsQuota('50000\n', '100000\n'), 0.5);
  });

  it('looks at every level, own cgroup first', () => {
    assert.deepEqual(cgroupDirectories('0::/user.slice/app\n').v2, [
      '/sys/fs/cgroup/user.slice/app',
      '/sys/fs/cgroup/user.slice',
      '/sys/fs/cgroup',
    ]);
    assert.deepEqual(cgroupDirectories('3:memory:/x\n4:cpu,cpuacct:/docker/1\n0::/../..\n'), {
      v1: ['cpu,cpuacct', 'cpu'].flatMap((mount) =>
        ['/docker/1', '/docker', ''].map((path) => `/sys/fs/cgroup/${mount}${path}`),
      ),
      v2: ['/sys/fs/cgroup'],
    });
    assert.deepEqual(cgroupDirectories(''), { v1: [], v2: [] });
  });

  it('takes the smallest bound, in whole CPUs, at least 1', () => {
    assert.equal(cpusWithin(8, [null, 2.5, 4]), 2);
    assert.equal(cpusWithin(8, [0.25]), 1);
    assert.equal(cpusWithin(8, []), 8);
  });

  it('finds a quota above its own cgroup', () => {
    const files: Record<string, string> = {
      '/proc/self/cgroup': '0::/a/b\n',
      '/sys/fs/cgroup/a/b/cpu.max': 'max 100000',
      '/sys/fs/cgroup/a/cpu.max': '100000 100000',
    };
    assert.equal(
      allowedCpus((path) => files[path] ?? null),
      1,
    );
    assert.ok(allowedCpus() >= 1);
  });
});
