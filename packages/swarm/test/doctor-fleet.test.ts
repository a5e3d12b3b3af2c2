/** What `swarm doctor` finds in a registry, and about deaths, dumps and clocks. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, it, type TestContext } from 'node:test';
import type { DeathRecord } from '../dist/death.js';
import type { RedisClient } from '../dist/redis/connect.js';
import { DeathStream } from '../dist/registry/death-stream.js';
import { registryKeys } from '../dist/registry/keys.js';
import { childOn, type ExamOptions, finds, openClient, register } from './doctor-exam.js';
import { startRedis, type TestRedis } from './redis-server.js';

let redis: TestRedis;
before(async () => {
  redis = await startRedis();
});
after(() => redis.stop());

let namespaces = 0;
async function place(
  t: TestContext,
): Promise<{ client: RedisClient; namespace: string; options: ExamOptions }> {
  const namespace = `ns${++namespaces}`;
  return { client: await openClient(t, redis.url), namespace, options: { flags: { namespace } } };
}

describe('doctor on a fleet', () => {
  it('whose masters are in another namespace', async (t) => {
    const { client, options } = await place(t);
    await register(client, { namespace: 'production', children: [] });
    await finds(
      redis.url,
      'namespaces',
      { status: 'warn', found: /no master runs in namespace ns\d+, but .*production/, cure: /--namespace / },
      options,
    );
  });

  it('with an older tag on the same queues', async (t) => {
    const { client, namespace, options } = await place(t);
    const start = Date.now();
    const old = await register(client, {
      namespace,
      tag: 'v1',
      startedAtMs: start - 3_600_000,
      children: [childOn(redis.url, ['mail'])],
    });
    await register(client, {
      namespace,
      tag: 'other',
      startedAtMs: start - 60_000,
      children: [childOn(redis.url, ['reports'])],
    });
    await finds(redis.url, 'tags', { status: 'ok', found: /v1, other, nothing older/ }, options);
    await register(client, {
      namespace,
      tag: 'v2',
      startedAtMs: start - 600_000,
      children: [childOn(redis.url, ['mail'])],
    });
    const found = new RegExp(`${old} still runs "v1"; "v2" has run on the same queues for 10m`);
    await finds(redis.url, 'tags', { status: 'warn', found, cure: new RegExp(`swarm stop ${old}`) }, options);
  });

  it('with children of an older generation', async (t) => {
    const { client, namespace, options } = await place(t);
    const children = [
      childOn(redis.url, ['mail'], { generation: 1 }),
      childOn(redis.url, ['mail'], { generation: 2, slot: 1 }),
    ];
    await register(client, { namespace, generation: 2, children });
    await finds(
      redis.url,
      'tags',
      { status: 'warn', found: /1 child of \S+ is of an older generation/, cure: /swarm roll/ },
      options,
    );
  });

  it('with a stale entry', async (t) => {
    const { client, namespace, options } = await place(t);
    const identity = await register(client, {
      namespace,
      children: [childOn(redis.url, ['mail'], { busy: 2 })],
    });
    await client.hset(registryKeys(namespace).master(identity), 'beatAtMs', String(Date.now() - 60_000));
    const found = new RegExp(`${identity} has not been heard of for 1m.*held 2 jobs`);
    await finds(
      redis.url,
      'registry-stale',
      { status: 'warn', found, cure: /releases what was held/ },
      options,
    );
  });

  it('with leases of children that are gone, and keys that never go', async (t) => {
    const { client, namespace, options } = await place(t);
    const child = childOn(redis.url, ['mail']);
    await register(client, { namespace, children: [child] });
    await client.set(`swarm:leases:{${child.identity}}`, '', 'PX', 3_600_000);
    await finds(
      redis.url,
      'registry-lingering',
      { status: 'ok', found: /each with an owner and an end/ },
      options,
    );
    await client.set('swarm:leases:{web-9:1:gone}', '', 'PX', 3_600_000);
    await client.set('swarm:leases:{web-9:2:freed}', '', 'PX', 30_000);
    await client.set(`swarm:{${namespace}}:old`, '');
    const found =
      /1 key of swarm's would stay for ever: swarm:\{ns\d+\}:old\n1 child that is gone may still hold leases of limiters: web-9:1:gone/;
    await finds(redis.url, 'registry-lingering', { status: 'warn', found, cure: /DEL them/ }, options);
  });

  it('with a malformed entry', async (t) => {
    const { client, namespace, options } = await place(t);
    await client.zadd(registryKeys(namespace).masters, Date.now() + 60_000, 'nonsense');
    await client.hset(registryKeys(namespace).master('nonsense'), 'state', 'up');
    await finds(
      redis.url,
      'registry-stale',
      { status: 'warn', found: /nonsense: malformed entry skipped/ },
      options,
    );
  });

  it('with a child that keeps dying, and one that is stuck', async (t) => {
    const { client, namespace, options } = await place(t);
    const jobs = [{ queue: 'mail', id: '7', name: 'x', startedAtMs: Date.now() }];
    await register(client, {
      namespace,
      children: [
        childOn(redis.url, ['mail'], { state: 'backoff', restarts: 4 }),
        childOn(redis.url, ['mail'], { slot: 1, pid: 4711, stuckSinceMs: Date.now() - 30_000, jobs }),
      ],
    });
    const found =
      /slot 1 \(pid 4711\) is stuck since \d+s, with mail\/7\nslot 0 keeps dying: it was restarted 4 times/;
    await finds(redis.url, 'children', { status: 'fail', found, cure: /swarm dump 4711\b/ }, options);
  });

  it('with deaths of the last day, summed up', async (t) => {
    const { client, namespace, options } = await place(t);
    const stream = new DeathStream(client, namespace);
    const dayMs = 24 * 3_600_000;
    for (const [cause, agoMs] of [
      ['oom-kill', dayMs * 2],
      ['oom-kill', 60_000],
      ['exit', 5_000],
      ['oom-kill', 120_000],
    ] as const)
      await stream.add(death(cause, Date.now() - agoMs), false);
    const found = /3 children died in the last day: 2 oom-kill, 1 exit\nthe last: exit, \d+s ago/;
    await finds(
      redis.url,
      'deaths',
      { status: 'warn', found, cure: /--max-memory[\s\S]*process\.exit\(\)/ },
      options,
    );
  });

  it('with clocks that differ: of this host, of another', async (t) => {
    const { client, namespace, options } = await place(t);
    const identity = await register(client, { namespace, clockOffsetMs: -45_000 });
    const found = new RegExp(`the clock of the host of ${identity} is 45s ahead of that of Redis`);
    await finds(redis.url, 'clocks', { status: 'fail', found, cure: /timedatectl/ }, options);
    const late = { ...options, now: () => Date.now() - 5_000 };
    await finds(
      redis.url,
      'clocks',
      { status: 'fail', found: /the clock of this host is \d+s behind/ },
      late,
    );
  });

  it('of which a process has lost its master', async (t) => {
    const { options } = await place(t);
    const gone = spawn('true');
    await once(gone, 'exit');
    const child = spawn('sleep', ['60'], { env: { ...process.env, SWARM_MASTER_PID: String(gone.pid) } });
    t.after(() => child.kill('SIGKILL'));
    await once(child, 'spawn');
    const found = new RegExp(
      `without a master: 1 process that a job started\npid ${child.pid} \\(of master ${gone.pid}\\): sleep$`,
    );
    await finds(redis.url, 'lingering-processes', { status: 'warn', found, cure: /by their pids/ }, options);
  });
});

let deaths = 0;
function death(cause: 'oom-kill' | 'exit', atMs: number): DeathRecord {
  return {
    atMs,
    identity: `web-1:${++deaths}:n`,
    master: 'web-1:1:n',
    host: 'web-1',
    tag: '',
    slot: 0,
    group: 'default',
    pid: deaths,
    generation: 0,
    cause,
    evidence: {
      summary: 'as the test has it',
      hint: null,
      killedFor: null,
      leavesFor: null,
      wasReady: true,
      drained: false,
      oom: null,
      heapOom: null,
      uncaught: null,
    },
    code: null,
    signal: 'SIGKILL',
    uptimeMs: 1_000,
    rssBytes: null,
    pssBytes: null,
    heapUsedBytes: null,
    memory: [],
    jobs: [],
    stderr: [],
    addons: [],
    dump: null,
    node: '24.1.0',
  };
}
