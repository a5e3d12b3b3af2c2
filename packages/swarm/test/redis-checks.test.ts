import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { SwarmError } from '../dist/errors.js';
import { checkRedis, judgeServer, type RedisCheck, type ServerFacts } from '../dist/redis/checks.js';
import { type ConnectionRole, connect, type RedisClient, retryDelayMs } from '../dist/redis/connect.js';
import { explainFailure } from '../dist/redis/failure.js';
import type { LoadingProgress } from '../dist/redis/ready.js';
import { parseRedisUrl } from '../dist/redis/url.js';
import { freePort, startRedis, type TestRedis, type TestRedisOptions, until } from './redis-server.js';

const cleanups: (() => unknown)[] = [];
after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

async function redis(options?: TestRedisOptions): Promise<TestRedis> {
  const server = await startRedis(options);
  cleanups.push(server.stop);
  return server;
}

function open(url: string, options: { role?: ConnectionRole; tlsNoVerify?: boolean } = {}): RedisClient {
  const client = connect(parseRedisUrl(url, '--redis'), { name: 'swarm test', role: 'registry', ...options });
  cleanups.push(() => client.disconnect());
  return client;
}

function check(url: string, options: { tlsNoVerify?: boolean } = {}): Promise<RedisCheck> {
  return checkRedis(open(url, options), url);
}

async function failure(result: Promise<unknown>, code: string, message: RegExp): Promise<SwarmError> {
  const error = await result.then(
    () => assert.fail(`no ${code}`),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof SwarmError, String(error));
  assert.equal(error.code, code, error.message);
  assert.equal(error.exitCode, 69);
  assert.match(error.message, message);
  assert.doesNotMatch(error.message, /sesame/);
  return error;
}

async function listening(server: Server): Promise<number> {
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  cleanups.push(() => server.close());
  return port;
}

it('a Redis that is there and says no is not called unreachable', async () => {
  const server = await redis();
  const client = open(server.url, { role: 'jobs' });
  const refusedFor = async (settings: Record<string, string>, says: RegExp): Promise<void> => {
    for (const [name, value] of Object.entries(settings)) await client.call('CONFIG', 'SET', name, value);
    const error = await client.set('key', 'value').then(
      () => assert.fail('it is written'),
      (reason: unknown) => reason,
    );
    const explained = explainFailure(error, server.url);
    assert.equal(explained.final, false);
    await failure(Promise.reject(explained.error), 'SWARM_REDIS_REFUSED', says);
  };
  await refusedFor(
    { 'min-replicas-to-write': '1' },
    /NOREPLICAS.*; it has fewer replicas than min-replicas-to-write/,
  );
  await refusedFor(
    { 'min-replicas-to-write': '0', maxmemory: '1' },
    /OOM .*; its memory is full: raise its maxmemory/,
  );
  await client.call('ACL', 'SETUSER', 'reader', 'on', 'nopass', '~*', '+@read', '+info', '+config');
  const reader = open(server.url.replace('://', '://reader:any@'), { role: 'jobs' });
  const { error, final } = explainFailure(
    await reader.set('key', 'value').catch((reason) => reason),
    server.url,
  );
  assert.deepEqual([error.code, final], ['SWARM_REDIS_REFUSED', true]);
  assert.match(error.message, /NOPERM .*ACL SETUSER/);
});

// Most of these wait for a timeout.
describe('checkRedis', { concurrency: true }, () => {
  it('passes a good server, and warns of what may lose jobs', async () => {
    const good = await redis({ args: ['--appendonly', 'yes'] });
    const { version, warnings } = await check(good.url);
    assert.match(version, /^\d+\.\d+\.\d+$/);
    assert.deepEqual(warnings, []);

    const bad = await redis({
      args: ['--maxmemory', '50mb', '--maxmemory-policy', 'allkeys-lru', '--maxclients', '8'],
    });
    const codes = (await check(bad.url)).warnings.map(({ code }) => code);
    assert.deepEqual(codes, ['SWARM_REDIS_EVICTS', 'SWARM_REDIS_NOT_PERSISTENT', 'SWARM_REDIS_FEW_CLIENTS']);
  });

  it('names the connection in CLIENT LIST', async () => {
    const server = await redis();
    const client = open(server.url, { role: 'jobs' });
    await checkRedis(client, server.url);
    assert.match(String(await client.client('LIST')), /name=swarm-test /);
  });

  it('passes where the user may neither INFO nor CONFIG', async () => {
    const server = await redis();
    const admin = open(server.url, { role: 'jobs' });
    await admin.call('ACL', 'SETUSER', 'app', 'on', '>sesame', '~*', '+@all', '-config', '-info');
    const { version } = await check(`redis://app:sesame@127.0.0.1:${server.port}`);
    assert.equal(version, 'unknown');
  });

  it('says that nothing listens, within seconds', async () => {
    const port = await freePort();
    const startedAt = performance.now();
    await failure(
      check(`redis://:sesame@127.0.0.1:${port}`),
      'SWARM_REDIS_UNREACHABLE',
      new RegExp(`redis://\\*\\*\\*@127.0.0.1:${port}: .*ECONNREFUSED.*--redis URL.*--redis embedded`),
    );
    assert.ok(performance.now() - startedAt < 20_000);
  });

  it('waits a little for one that is just starting', async () => {
    const port = await freePort();
    const checked = check(`redis://127.0.0.1:${port}`);
    await redis({ port });
    assert.match((await checked).version, /^\d/);
  });

  it('says that the host is not known', async () => {
    await failure(
      check('redis://no-such-host.invalid'),
      'SWARM_REDIS_UNREACHABLE',
      /no-such-host\.invalid.*(ENOTFOUND|EAI_AGAIN)/,
    );
  });

  it('gives up on a server that accepts and stays silent', async () => {
    const server = await redis();
    server.signal('SIGSTOP');
    const startedAt = performance.now();
    await failure(check(server.url), 'SWARM_REDIS_UNREACHABLE', /no answer in time/);
    assert.ok(performance.now() - startedAt < 30_000);
  });

  it('tells a wrong password and a missing one', async () => {
    const server = await redis({ args: ['--requirepass', 'sesame'] });
    await failure(check(`redis://:sesame-not@127.0.0.1:${server.port}`), 'SWARM_REDIS_AUTH', /WRONGPASS/);
    await failure(check(server.url), 'SWARM_REDIS_AUTH', /NOAUTH/);
    await check(`redis://:sesame@127.0.0.1:${server.port}`);
  });

  it('tells a database that is not there, a replica, a cluster node, and what is no Redis', async () => {
    const server = await redis();
    await failure(check(`${server.url}/99`), 'SWARM_REDIS_DB', /use \/0/);
    const replica = await redis({ args: ['--replicaof', '127.0.0.1', String(server.port)] });
    await failure(check(replica.url), 'SWARM_REDIS_REPLICA', /primary/);
    const node = await redis({ args: ['--cluster-enabled', 'yes'] });
    await failure(check(node.url), 'SWARM_REDIS_CLUSTER', /redis\+cluster/);
    const port = await listening(createHttpServer((_request, response) => response.end('hello')));
    await failure(check(`redis://127.0.0.1:${port}`), 'SWARM_REDIS_UNREACHABLE', /not Redis/);
  });

  it('refuses an old server', async () => {
    // A fake, because no server this old is at hand: it knows INFO only, like a Redis 5 with most of it forbidden.
    const info = '# Server\r\nredis_version:5.0.14\r\nloading:0\r\nrole:master\r\n';
    const port = await listening(
      createServer((socket) => {
        socket.on('error', () => {});
        socket.on('data', (data) => {
          for (const command of data.toString().split(/(?=\*\d+\r\n\$)/)) {
            const isInfo = /\$4\r\ninfo\r\n/i.test(command);
            socket.write(
              isInfo
                ? `$${info.length}\r\n${info}\r\n`
                : '-ERR unknown command `HELLO`, with args beginning with:\r\n',
            );
          }
        });
      }),
    );
    await failure(check(`redis://127.0.0.1:${port}`), 'SWARM_REDIS_TOO_OLD', /5\.0\.14.*6\.2/);
  });

  it('waits for a server that loads its data, however long it takes', async () => {
    const first = await redis();
    const writer = open(first.url, { role: 'jobs' });
    await writer.mset(
      Object.fromEntries(Array.from({ length: 12_000 }, (_, index) => [`key:${index}`, 'x'.repeat(64)])),
    );
    await writer.save();
    const port = await freePort();
    // Its own delay for debugging, 500 µs a key: 6 s, which is over the budget.
    const slow = [
      '--dir',
      first.directory,
      '--key-load-delay',
      '500',
      '--loading-process-events-interval-bytes',
      '1024',
    ];
    const loading = await redis({ port, args: slow, loads: true });
    const progress: LoadingProgress[] = [];
    const url = loading.url;
    await checkRedis(open(url), url, { budgetMs: 2_000, onLoading: (each) => progress.push(each) });
    assert.ok(progress.length >= 2, JSON.stringify(progress));
    assert.ok(progress.every(({ percent }) => percent !== null && percent >= 0 && percent <= 100));
  });

  it('reaches a cluster, and says why not', async () => {
    const args = [
      '--cluster-enabled',
      'yes',
      '--cluster-announce-ip',
      '127.0.0.1',
      '--appendonly',
      'yes',
      '--requirepass',
      'sesame',
    ];
    const node = await redis({ args });
    const admin = open(`redis://:sesame@127.0.0.1:${node.port}`, { role: 'jobs' });
    await admin.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
    const state = async () => /cluster_state:ok/.test(String(await admin.call('CLUSTER', 'INFO')));
    await until(state, 'the cluster has all slots');
    const { version, warnings } = await check(`redis+cluster://:sesame@127.0.0.1:${node.port}`);
    assert.match(version, /^\d/);
    assert.deepEqual(warnings, []);
    await failure(
      check(`redis+cluster://:sesame-not@127.0.0.1:${node.port}`),
      'SWARM_REDIS_AUTH',
      /WRONGPASS/,
    );
    await failure(
      check(`redis+cluster://127.0.0.1:${await freePort()}`),
      'SWARM_REDIS_UNREACHABLE',
      /none of its nodes/,
    );
  });

  it('reaches a primary through sentinels, and says why not', async () => {
    const primary = await redis({ args: ['--appendonly', 'yes'] });
    const directory = mkdtempSync(join(tmpdir(), 'swarm-sentinel-'));
    cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
    const configFile = join(directory, 'sentinel.conf');
    writeFileSync(configFile, `sentinel monitor jobs 127.0.0.1 ${primary.port} 1\n`);
    const sentinel = await redis({ configFile, args: ['--sentinel'] });
    const { warnings } = await check(`redis+sentinel://127.0.0.1:${sentinel.port}/jobs`);
    assert.deepEqual(warnings, []);
    await failure(
      check(`redis+sentinel://127.0.0.1:${sentinel.port}/other`),
      'SWARM_REDIS_UNREACHABLE',
      /sentinel/,
    );
  });

  it('tells certificates and plain connections apart', async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'swarm-tls-'));
    cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
    const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
    const request = [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      key,
      '-out',
      cert,
      '-days',
      '2',
      '-subj',
      '/CN=localhost',
    ];
    try {
      execFileSync('openssl', request, { stdio: 'ignore' });
    } catch {
      t.skip('no openssl to make a certificate with');
      return;
    }
    const tlsPort = await freePort();
    const tls = [
      '--tls-port',
      String(tlsPort),
      '--tls-key-file',
      key,
      '--tls-cert-file',
      cert,
      '--tls-ca-cert-file',
      cert,
    ];
    const plain = await redis({ args: [...tls, '--tls-auth-clients', 'no'] });
    await failure(check(`rediss://localhost:${tlsPort}`), 'SWARM_REDIS_TLS', /--redis-tls-no-verify/);
    assert.match((await check(`rediss://localhost:${tlsPort}`, { tlsNoVerify: true })).version, /^\d/);
    // Redis takes the greeting for a long line and waits for its end.
    await failure(
      check(`rediss://localhost:${plain.port}`),
      'SWARM_REDIS_UNREACHABLE',
      /no answer in time.*if it speaks no TLS/,
    );
    const greeter = await listening(
      createServer((socket) => socket.on('error', () => {}).end('-ERR no TLS here\r\n')),
    );
    await failure(check(`rediss://localhost:${greeter}`), 'SWARM_REDIS_TLS', /does not speak TLS/);
    await failure(check(`redis://localhost:${tlsPort}`), 'SWARM_REDIS_UNREACHABLE', /rediss:\/\//);
  });
});

describe('connections', { concurrency: true }, () => {
  it('of the registry end every command in time, and come back', async () => {
    const server = await redis();
    const client = open(server.url);
    await checkRedis(client, server.url);
    server.signal('SIGSTOP');
    const startedAt = performance.now();
    await assert.rejects(client.ping(), /timed out/i);
    assert.ok(performance.now() - startedAt < 30_000);
    await until(() => client.status !== 'ready', 'the silent socket is given up', 10_000);
    await assert.rejects(client.ping());
    server.signal('SIGCONT');
    await until(() => client.status === 'ready', 'connected again', 10_000);
    assert.equal(await client.ping(), 'PONG');
  });

  it('of jobs keep their commands until Redis is back', async () => {
    const server = await redis();
    const client = open(server.url, { role: 'jobs' });
    await client.ping();
    await server.stop();
    await until(() => client.status !== 'ready', 'the loss is seen');
    const answer = client.ping();
    await redis({ port: server.port });
    assert.equal(await answer, 'PONG');
  });

  it('retry at least once a second', () => {
    for (let attempt = 1; attempt < 100; attempt += 1) {
      for (const random of [0, 0.5, 0.999]) {
        const delayMs = retryDelayMs(attempt, () => random);
        assert.ok(delayMs >= 25 && delayMs <= 1_000, String(delayMs));
      }
    }
  });
});

describe('judgeServer', () => {
  const good: ServerFacts = {
    version: '7.2.4',
    valkeyVersion: null,
    maxmemoryPolicy: 'noeviction',
    aofEnabled: true,
    savePoints: '',
    maxClients: 10_000,
    connectedClients: 1,
    role: 'master',
    clusterEnabled: false,
  };
  const context = { url: 'redis://h', clientsNeeded: 10, asCluster: false };
  const codes = (facts: Partial<ServerFacts>) => {
    const { errors, warnings } = judgeServer({ ...good, ...facts }, context);
    return [...errors, ...warnings].map(({ code }) => code);
  };

  it('knows versions', () => {
    for (const version of ['6.2.0', '6.10.1', '7.0.15', '10.0.0', null, 'unstable'])
      assert.deepEqual(codes({ version }), []);
    for (const version of ['6.1.9', '5.0.14', '2.8'])
      assert.deepEqual(codes({ version }), ['SWARM_REDIS_TOO_OLD']);
    assert.deepEqual(codes({ version: '7.2.4', valkeyVersion: '8.0.1' }), []);
  });

  it('warns of nothing that it does not know', () => {
    const unknown = Object.fromEntries(Object.keys(good).map((key) => [key, null])) as unknown as ServerFacts;
    assert.deepEqual(codes(unknown), []);
    assert.deepEqual(codes({ aofEnabled: false, savePoints: null }), []);
  });

  it('takes snapshots for persistence', () => {
    assert.deepEqual(codes({ aofEnabled: false, savePoints: '3600 1' }), []);
    assert.deepEqual(codes({ aofEnabled: false, savePoints: '' }), ['SWARM_REDIS_NOT_PERSISTENT']);
  });

  it('counts the clients that are there', () => {
    assert.deepEqual(codes({ maxClients: 20, connectedClients: 11 }), []);
    assert.deepEqual(codes({ maxClients: 20, connectedClients: 12 }), ['SWARM_REDIS_FEW_CLIENTS']);
  });
});
