import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, describe, it } from 'node:test';
import { Redis } from 'ioredis';
import { SwarmError } from '../dist/errors.js';
import { isAlive, readStat } from '../dist/process/proc.js';
import {
  type EmbeddedServer,
  embeddedUrl,
  resolveRedis,
  startEmbedded,
  stateDirectory,
  stopEmbedded,
} from '../dist/redis/embedded.js';
import { mayStart } from '../dist/redis/keeper.js';
import { acquireLock } from '../dist/redis/lock.js';
import { isServerTitle, readTitle } from '../dist/redis/server-title.js';
import { startRedis, until } from './redis-server.js';

const root = mkdtempSync(join(tmpdir(), 'swarm-embedded-'));
const cleanups: (() => unknown)[] = [];
const pids = new Set<number>();
after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
  for (const pid of pids) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
  rmSync(root, { recursive: true, force: true });
});
// a runner that is ended does not wait for the above
process.on('exit', () => {
  for (const pid of pidsIn(root)) process.kill(pid, 'SIGKILL');
  rmSync(root, { recursive: true, force: true });
});

/** Processes that have their working directory there, as embedded servers have; none where there is no /proc. */
function pidsIn(directory: string): number[] {
  if (!existsSync('/proc/self/cwd')) return [];
  return readdirSync('/proc').flatMap((name) => {
    try {
      return /^\d+$/.test(name) && readlinkSync(`/proc/${name}/cwd`).startsWith(directory)
        ? [Number(name)]
        : [];
    } catch {
      return [];
    }
  });
}

const logged: string[] = [];
const log = (level: string, message: string) => void logged.push(`${level} ${message}`);
let directories = 0;

function newStateDir(): string {
  directories += 1;
  return join(root, `state "${directories}"`, 'swarm');
}

async function start(stateDir: string): Promise<EmbeddedServer> {
  const server = await startEmbedded({ stateDir, log });
  pids.add(server.pid);
  return server;
}

function client(url: string): Redis {
  const redis = new Redis(url, { maxRetriesPerRequest: 1 });
  redis.on('error', () => {});
  cleanups.push(() => redis.disconnect());
  return redis;
}

async function failure(result: Promise<unknown>, code: string, message: RegExp): Promise<void> {
  const error = await result.then(
    () => assert.fail(`no ${code}`),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof SwarmError, String(error));
  assert.deepEqual([error.code, error.exitCode], [code, 69], error.message);
  assert.match(error.message, message);
}

/** Another process that starts the server, prints what it got, and waits to be killed. */
function otherMaster(stateDir: string): {
  process: ChildProcess;
  started: Promise<{ pid: number; url: string; reused: boolean }>;
} {
  const module = new URL('../dist/redis/embedded.js', import.meta.url).href;
  const script = `import { startEmbedded } from ${JSON.stringify(module)};
    const { pid, url, reused } = await startEmbedded({ stateDir: process.argv[1], log() {} });
    console.log(JSON.stringify({ pid, url, reused }));
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, stateDir], {
    stdio: ['ignore', 'pipe', 'inherit'],
    cwd: root,
  });
  cleanups.push(() => child.kill('SIGKILL'));
  const started = new Promise<{ pid: number; url: string; reused: boolean }>((resolve, reject) => {
    let output = '';
    child.stdout.on('data', (data: Buffer) => {
      output += data.toString();
      if (!output.includes('\n')) return;
      const answer = JSON.parse(output) as { pid: number; url: string; reused: boolean };
      pids.add(answer.pid);
      resolve(answer);
    });
    child.once('exit', () => reject(new Error('the other master ended')));
  });
  return { process: child, started };
}

describe('resolveRedis', () => {
  it('takes what is named, wherever it runs', () => {
    for (const env of [{}, { DYNO: 'worker.1' }]) {
      assert.deepEqual(resolveRedis({ redis: 'redis://h', env, pid: 1 }), { kind: 'url', url: 'redis://h' });
      assert.deepEqual(resolveRedis({ redis: 'embedded', env, pid: 1 }), { kind: 'embedded' });
    }
  });

  it('runs its own where none is named, but not in a service', () => {
    for (const redis of [null, '', ' ']) {
      assert.deepEqual(resolveRedis({ redis, env: { HOME: '/home/me' }, pid: 4711 }), { kind: 'embedded' });
      const services = [
        { DYNO: 'worker.1' },
        { INVOCATION_ID: 'a' },
        { KUBERNETES_SERVICE_HOST: '10.0.0.1' },
      ];
      for (const env of services) {
        assert.throws(() => resolveRedis({ redis, env, pid: 4711 }), {
          code: 'SWARM_REDIS_MISSING',
          exitCode: 69,
          message: new RegExp(`${Object.keys(env)[0]} is set.*--redis URL.*--redis embedded`),
        });
      }
      assert.throws(() => resolveRedis({ redis, env: {}, pid: 1 }), /pid is 1/);
    }
  });
});

describe('stateDirectory', () => {
  it('follows XDG_STATE_HOME when it is absolute', () => {
    assert.equal(stateDirectory({ XDG_STATE_HOME: '/var/state' }), '/var/state/swarm');
    const homeless = [{ HOME: '' }, { HOME: 'relative' }];
    for (const env of [{}, { XDG_STATE_HOME: '' }, { XDG_STATE_HOME: 'relative' }, ...homeless]) {
      assert.match(stateDirectory(env), /^\/.*\/\.local\/state\/swarm$/);
    }
  });
});

describe('the process of a pid file', () => {
  it('is a server by its title, and ours by its port', () => {
    assert.equal(isServerTitle('redis-server 127.0.0.1:23456', 23_456), true);
    assert.equal(isServerTitle('/opt/homebrew/bin/valkey-server 127.0.0.1:23456', null), true);
    assert.equal(isServerTitle('redis-server 127.0.0.1:6379', 23_456), false);
    assert.equal(isServerTitle('/Applications/Safari.app/Contents/MacOS/Safari', 23_456), false);
  });

  it('is looked at with ps where there is no /proc', {
    skip: spawnSync('ps', ['-p', '1']).error !== undefined && 'there is no ps',
  }, async () => {
    const nowhere = join(root, 'no-proc');
    const server = await startRedis();
    cleanups.push(server.stop);
    const title = readTitle(server.pid, nowhere);
    assert.equal(title !== null && isServerTitle(title, server.port), true, `${title}`);
    // an old file may name anybody, or nobody
    assert.equal(isServerTitle(readTitle(process.pid, nowhere) ?? 'redis-server', null), false);
    assert.equal(readTitle(2 ** 22 - 1, nowhere), '');
  });
});

describe('a server that was killed', () => {
  it('is started again, but not for ever in a row', () => {
    const minute = 60_000;
    assert.equal(mayStart([], 0), true);
    assert.equal(mayStart([0, 1, 2, 3], 4), true);
    assert.equal(mayStart([0, 1, 2, 3, 4], 5), false);
    assert.equal(mayStart([0, 1, 2, 3, 4], 4 * minute), false);
    assert.equal(mayStart([0, 1, 2, 3, 4], 5 * minute), true);
  });
});

describe('the embedded server', { concurrency: 4 }, () => {
  it('is private, durable and its own session', async () => {
    const stateDir = newStateDir();
    const server = await start(stateDir);
    assert.equal(server.reused, false);
    assert.match(server.server, /^(redis|valkey)-server \d+\.\d+/);
    assert.match(server.url, /^redis:\/\/:[0-9a-f]{64}@127\.0\.0\.1:\d+$/);
    assert.equal(statSync(stateDir).mode & 0o777, 0o700);
    assert.equal(statSync(join(stateDir, 'redis.conf')).mode & 0o777, 0o600);
    const password = new URL(server.url).password;
    if (process.platform === 'linux') {
      assert.ok(!readFileSync(`/proc/${server.pid}/cmdline`, 'utf8').includes(password));
      assert.ok(!readFileSync(`/proc/${server.pid}/environ`, 'utf8').includes('HOME='));
      assert.equal(readStat(server.pid)?.pgrp, server.pid);
    }
    const redis = client(server.url);
    const settings = await redis.config(
      'GET',
      'appendonly',
      'appendfsync',
      'maxmemory-policy',
      'bind',
      'save',
    );
    assert.deepEqual(Object.fromEntries(pairs(settings as string[])), {
      appendonly: 'yes',
      appendfsync: 'everysec',
      'maxmemory-policy': 'noeviction',
      bind: '127.0.0.1',
      save: '',
    });
    const stranger = client(server.url.replace(password, 'wrong'));
    await assert.rejects(stranger.ping());
    await server.stop();
  });

  it('keeps data, port and password over a stop', async () => {
    const stateDir = newStateDir();
    const first = await start(stateDir);
    await client(first.url).set('job', '1');
    await first.stop();
    assert.ok(!isAlive(first.pid));
    assert.equal(await embeddedUrl(stateDir), null);
    const second = await start(stateDir);
    assert.equal(second.url, first.url);
    assert.equal(second.reused, false);
    assert.equal(await client(second.url).get('job'), '1');
    await second.stop();
  });

  it('survives the master that started it, killed, and is found again', async () => {
    const stateDir = newStateDir();
    const other = otherMaster(stateDir);
    const { pid, url } = await other.started;
    const gone = new Promise((resolve) => other.process.once('exit', resolve));
    other.process.kill('SIGKILL');
    await gone;
    assert.equal(await embeddedUrl(stateDir), url);
    const found = await start(stateDir);
    assert.deepEqual([found.pid, found.url, found.reused], [pid, url, true]);
    await found.stop();
  });

  it('is one, however many masters start at once', async () => {
    const stateDir = newStateDir();
    const others = [otherMaster(stateDir), otherMaster(stateDir), otherMaster(stateDir)];
    const started = await Promise.all([
      ...others.map(({ started }) => started),
      start(stateDir),
      start(stateDir),
    ]);
    assert.equal(new Set(started.map(({ pid }) => pid)).size, 1);
    assert.equal(started.filter(({ reused }) => !reused).length, 1);
    assert.deepEqual(await stopEmbedded(stateDir).then((stopped) => stopped?.pid), started[0]?.pid);
    assert.equal(await stopEmbedded(stateDir), null);
  });

  it('is stopped by the last who leaves', async () => {
    const stateDir = newStateDir();
    const [one, other] = [await start(stateDir), await start(stateDir)];
    const producer = client(other.url);
    await producer.ping();
    assert.equal(await one.stopIfUnused(), false);
    const own = client(other.url);
    await own.client('SETNAME', 'swarm-me-1');
    assert.equal(await other.stopIfUnused({ ownName: 'swarm-me' }), false);
    producer.disconnect();
    assert.equal(await other.stopIfUnused({ ownName: 'swarm-me' }), true);
    assert.ok(!isAlive(one.pid));
  });

  it('is not stopped under a master that has just started and is yet to connect', async () => {
    const stateDir = newStateDir();
    const leaving = await start(stateDir);
    const arriving = await start(stateDir);
    assert.equal(await leaving.stopIfUnused(), false);
    arriving.close();
    await arriving.stop();
  });

  it('moves when its port is taken, by a Redis without a password too', async () => {
    const stateDir = newStateDir();
    const first = await start(stateDir);
    await client(first.url).set('job', '1');
    await first.stop();
    const port = Number(new URL(first.url).port);
    const squatter = await startRedis({ port });
    cleanups.push(squatter.stop);
    assert.equal(await embeddedUrl(stateDir), null);
    const second = await start(stateDir);
    const [before, now] = [new URL(first.url), new URL(second.url)];
    assert.notEqual(now.port, before.port);
    assert.equal(now.password, before.password);
    assert.equal(await client(second.url).get('job'), '1');
    await second.stop();
  });

  it('moves when what sits on its port says nothing', async () => {
    const stateDir = newStateDir();
    const first = await start(stateDir);
    await first.stop();
    const silent = createServer((socket) => socket.on('error', () => {}));
    await new Promise<void>((resolve) =>
      silent.listen(Number(new URL(first.url).port), '127.0.0.1', resolve),
    );
    cleanups.push(() => silent.close());
    const second = await start(stateDir);
    assert.notEqual(second.url, first.url);
    await second.stop();
  });

  it('takes over the lock of a process that is gone, and waits for one that lives', async () => {
    const stateDir = newStateDir();
    mkdirSync(stateDir, { recursive: true });
    const gone = spawn(process.execPath, ['-e', '']);
    await new Promise((resolve) => gone.once('exit', resolve));
    const lockFile = join(stateDir, 'redis.lock');
    for (const left of [
      JSON.stringify({ pid: gone.pid, startTicks: 1, nonce: 'a' }),
      JSON.stringify({ pid: process.pid, startTicks: 1, nonce: 'a' }),
      '',
      '{',
    ]) {
      writeFileSync(lockFile, left);
      const server = await start(stateDir);
      await server.stop();
      assert.ok(!existsSync(lockFile));
    }
    const lock = await acquireLock(lockFile, 0);
    assert.ok(lock);
    assert.equal(await acquireLock(lockFile, 50), null);
    const waiting = start(stateDir);
    lock.release();
    await (await waiting).stop();
  });

  it('gets a new configuration when that is damaged and no server runs on its data', async () => {
    const stateDir = newStateDir();
    const first = await start(stateDir);
    await client(first.url).set('job', '1');
    await first.stop();
    writeFileSync(join(stateDir, 'redis.conf'), 'port 70000\nnonsense');
    assert.equal(await embeddedUrl(stateDir), null);
    const second = await start(stateDir);
    assert.notEqual(second.url, first.url);
    assert.equal(await client(second.url).get('job'), '1');

    // With the server still there, a second one would share its data.
    writeFileSync(join(stateDir, 'redis.conf'), '');
    await failure(
      start(stateDir),
      'SWARM_EMBEDDED_FAILED',
      new RegExp(`pid ${second.pid}.*kill ${second.pid}`),
    );
    process.kill(second.pid, 'SIGKILL');
    await until(() => !isAlive(second.pid), 'the server is gone');
    const third = await start(stateDir);
    assert.equal(await client(third.url).get('job'), '1');
    await third.stop();
  });

  it('says what keeps it from starting', async () => {
    const stateDir = newStateDir();
    const first = await start(stateDir);
    await first.stop();
    writeFileSync(join(stateDir, 'redis', 'appendonlydir', 'appendonly.aof.manifest'), 'nonsense\n');
    await failure(start(stateDir), 'SWARM_EMBEDDED_FAILED', /manifest.*redis\.log.*--redis URL/i);
  });

  it('is not stopped by hand under a master, but by force', async () => {
    const stateDir = newStateDir();
    const server = await start(stateDir);
    const [master, producer] = [client(server.url), client(server.url)];
    await master.client('SETNAME', 'swarm-master-4711-commands');
    await producer.ping();
    await failure(
      stopEmbedded(stateDir),
      'SWARM_EMBEDDED_IN_USE',
      /the master with pid 4711 and \d other conn.*--force/,
    );
    assert.ok(isAlive(server.pid));
    assert.equal((await stopEmbedded(stateDir, { force: true }))?.pid, server.pid);
    // and whoever wants it back gets it back
    const again = await start(stateDir);
    assert.equal(existsSync(join(stateDir, 'redis.stopped')), false);
    await again.stop();
  });

  it('uses no state directory of another user, nor one behind a link of theirs', {
    skip: process.getuid?.() !== 0 && 'only root can give a directory away',
  }, async () => {
    const [theirs, linked, file] = [newStateDir(), newStateDir(), newStateDir()];
    for (const path of [theirs, file]) mkdirSync(path, { recursive: true });
    mkdirSync(dirname(linked), { recursive: true });
    symlinkSync(file, linked);
    lchownSync(linked, 12_345, 12_345);
    const says =
      /belongs to another user \(uid 12345, and swarm runs as uid 0\).*XDG_STATE_HOME.*--redis URL/;
    const first = await start(file);
    await first.stop();
    writeFileSync(join(theirs, 'redis.conf'), readFileSync(join(file, 'redis.conf')));
    chownSync(theirs, 12_345, 12_345);
    for (const path of [theirs, linked]) {
      await failure(start(path), 'SWARM_STATE_DIRECTORY', says);
      await failure(embeddedUrl(path), 'SWARM_STATE_DIRECTORY', says);
    }
    assert.deepEqual(readdirSync(theirs), ['redis.conf']);
    chownSync(join(file, 'redis.conf'), 12_345, 12_345);
    await failure(start(file), 'SWARM_STATE_DIRECTORY', says);
  });

  it('says what is wrong with the state directory', async () => {
    const blocked = join(root, 'a-file');
    writeFileSync(blocked, '');
    await failure(
      start(join(blocked, 'swarm')),
      'SWARM_STATE_DIRECTORY',
      /ENOTDIR.*XDG_STATE_HOME.*--redis URL/,
    );
    // Root writes where it likes, but not here.
    if (process.platform === 'linux')
      await failure(start('/proc/swarm'), 'SWARM_STATE_DIRECTORY', /cannot be used/);
  });
});

describe('the binary', () => {
  const path = process.env['PATH'];
  after(() => {
    process.env['PATH'] = path;
  });

  it('is looked for in PATH, and its absence explained', async () => {
    const bin = join(root, 'bin');
    mkdirSync(bin);
    writeFileSync(join(bin, 'redis-server'), 'not executable');
    chmodSync(join(bin, 'redis-server'), 0o600);
    process.env['PATH'] = bin;
    await failure(
      start(newStateDir()),
      'SWARM_NO_REDIS_SERVER',
      /apt install redis-server.*brew install redis.*--redis URL/,
    );
    const real = (path ?? '')
      .split(':')
      .map((directory) => join(directory, 'redis-server'))
      .find((file) => existsSync(file));
    assert.ok(real);
    // Not Valkey itself: what is tested is that its name is looked for.
    symlinkSync(real, join(bin, 'valkey-server'));
    const server = await start(newStateDir());
    await server.stop();
  });
});

function pairs(flat: string[]): [string, string][] {
  return Array.from({ length: flat.length / 2 }, (_, index) => [
    flat[2 * index] ?? '',
    flat[2 * index + 1] ?? '',
  ]);
}
