/** What a running swarm says of itself in Redis, what `swarm ps` and `swarm jobs` make of it, and what that costs. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { hostname } from 'node:os';
import { createInterface } from 'node:readline';
import { after, before, describe, it, type TestContext } from 'node:test';
import type { MasterRecord, RunningJob } from '../../packages/swarm/dist/registry/schema.js';
import { rssBytes } from '../support/processes.js';
import { GatedJob, startSwarm, useQueue } from '../support/programs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { type Swarm, swarmCommand } from '../support/swarm.js';
import { fullIt } from '../support/tier.js';
import { A_COMMAND_EACH, waitFor } from '../support/wait.js';

/** A beat comes every 5 s; so much more is noise. */
const BEAT_WITHIN_MS = 8_000;

/** The registry's: nothing but masters speaks to it. */
let redis: TestRedis;
let queues: TestRedis;
let namespaces = 0;

before(async () => {
  [redis, queues] = await Promise.all([startRedis(), startRedis()]);
});

after(() => Promise.all([redis.close(), queues.close()]));

interface Started {
  swarm: Swarm;
  namespace: string;
  ask<T>(command: 'ps' | 'jobs'): Promise<T>;
  ps(): Promise<MasterRecord[]>;
}

function start(t: TestContext, app: string, args: readonly string[], queue = 'work'): Started {
  const namespace = `registry-${++namespaces}`;
  const swarm = startSwarm(t, app, { redis, queues, queue, args, env: { SWARM_NAMESPACE: namespace } });
  const ask = async <T>(command: 'ps' | 'jobs'): Promise<T> => {
    const { code, stdout, stderr } = await swarmCommand([
      command,
      '--json',
      '--redis',
      redis.url,
      '--namespace',
      namespace,
    ]);
    assert.deepEqual([code, stderr], [0, '']);
    return JSON.parse(stdout) as T;
  };
  return { swarm, namespace, ask, ps: () => ask<MasterRecord[]>('ps') };
}

/** The states of the entry, straight from Redis: a command would take its time. */
async function states(namespace: string): Promise<string[]> {
  const hash = await entry(namespace);
  const children = Object.entries(hash).filter(([field]) => field.startsWith('child:'));
  return [hash['state'] ?? '', ...children.map(([, text]) => (JSON.parse(text) as { state: string }).state)];
}

async function entry(namespace: string): Promise<Record<string, string>> {
  const keys = await redis.client.keys(`swarm:{${namespace}}:master:*`);
  return keys[0] ? redis.client.hgetall(keys[0]) : {};
}

async function showsStates(namespace: string, expected: readonly string[]): Promise<void> {
  await waitFor(`the registry shows ${expected}`, async () => {
    return (await states(namespace)).sort().join() === [...expected].sort().join();
  });
}

// its tests wait for beats more than they work
describe('the registry', { concurrency: 4 }, () => {
  it('shows each master, child and job', async (t) => {
    const { swarm, namespace, ask, ps } = start(t, 'main.cjs', ['--count', '2', '--tag', 'shop'], 'listed');
    const pids = await swarm.ready(2);
    const job = await GatedJob.add(t, useQueue(t, queues, 'listed'), 'welcome');
    const pid = await job.runner();
    await waitFor(
      'beats with the job, and with figures that take two samples',
      async () => {
        const texts = Object.values(await entry(namespace));
        const lacksFigures = texts.some((text) => /"(cpuPercent|loopLagMs|elu)":null/.test(text));
        return !lacksFigures && texts.some((text) => text.includes('"busy":1'));
      },
      {
        timeoutMs: BEAT_WITHIN_MS,
      },
    );
    const nowMs = Date.now();

    const masters = await ps();
    assert.equal(masters.length, 1);
    const { children, info, ...master } = masters[0] as MasterRecord;
    assert.match(master.identity, new RegExp(`^${hostname()}:${swarm.pid}:[0-9a-f]{8}$`));
    const { host, state, generation, stale, tag, count } = master;
    assert.deepEqual(
      { host, pid: master.pid, state, generation, stale, tag, count },
      { host: hostname(), pid: swarm.pid, state: 'up', generation: 0, stale: false, tag: 'shop', count: 2 },
    );
    assert.match(master.version, /^\d+\.\d+\.\d+/);
    assert.ok(nowMs - master.startedAtMs < 60_000 && nowMs - master.beatAtMs < BEAT_WITHIN_MS);
    assert.equal(info.node, process.versions.node);
    assert.deepEqual(children.map((child) => child.pid).sort(), pids.sort());
    for (const child of children) {
      const { slot, group, restarts, lastDeath, stuckSinceMs, concurrency } = child;
      assert.deepEqual(
        {
          group,
          state: child.state,
          generation: child.generation,
          restarts,
          lastDeath,
          stuckSinceMs,
          concurrency,
        },
        {
          group: 'default',
          state: 'up',
          generation: 0,
          restarts: 0,
          lastDeath: null,
          stuckSinceMs: null,
          concurrency: 1,
        },
      );
      assert.equal(swarm.children.get(slot), child.pid);
      assert.match(child.identity, new RegExp(`^${hostname()}:${child.pid}:`));
      const { startedAtMs, readyAtMs, beatAtMs } = child;
      assert.ok(startedAtMs < (readyAtMs as number) && (readyAtMs as number) <= (beatAtMs as number));
      assert.ok((child.pssBytes as number) < (child.rssBytes as number) && (child.pssBytes as number) > 10e6);
      assert.ok(
        (child.heapUsedBytes as number) > 5e6 &&
          (child.heapLimitBytes as number) > (child.heapUsedBytes as number),
      );
      for (const figure of [child.cpuPercent, child.loopLagMs, child.elu])
        assert.equal(typeof figure, 'number');
      const [worker] = child.workers;
      assert.deepEqual([child.workers.length, worker?.queue, worker?.prefix], [1, 'listed', 'bull']);
      assert.match(worker?.tokenPrefix as string, /:$/);
    }
    const busy = children.find((child) => child.pid === pid);
    const idle = children.find((child) => child.pid !== pid);
    assert.deepEqual([busy?.busy, idle?.busy, idle?.jobs], [1, 0, []]);

    const jobs = await ask<RunningJob[]>('jobs');
    assert.equal(jobs.length, 1);
    const { startedAtMs, ...running } = jobs[0] as RunningJob;
    const { identity, slot } = busy as { identity: string; slot: number };
    const asked = { queue: 'listed', id: job.id, name: 'welcome' };
    assert.deepEqual(running, { ...asked, identity, slot, pid, host: hostname(), stale: false });
    const [reported] = busy?.jobs ?? [];
    assert.deepEqual(reported, { ...asked, startedAtMs: reported?.startedAtMs });
    // epoch ms by Redis's clock, which each beat compares anew with the host's
    const processedOn = (await job.read()).processedOn as number;
    for (const atMs of [startedAtMs, reported?.startedAtMs as number])
      assert.ok(Math.abs(atMs - processedOn) < 2_000);

    await job.open();
    await job.result();
    await waitFor(
      'a beat without it',
      async () => Object.values(await entry(namespace)).some((text) => text.includes('"processed":1')),
      {
        timeoutMs: BEAT_WITHIN_MS,
      },
    );
    assert.deepEqual(await ask('jobs'), []);
  });

  fullIt('shows each change of state soon, and after a clean stop only how children ended', async (t) => {
    const { swarm, namespace } = start(t, 'main.cjs', ['--count', '2']);
    await swarm.ready(2);
    await showsStates(namespace, ['up', 'up', 'up']);
    const signalledAtMs = performance.now();
    swarm.kill('SIGTSTP');
    await showsStates(namespace, ['quiet', 'quiet', 'quiet']);
    swarm.kill('SIGCONT');
    await showsStates(namespace, ['up', 'up', 'up']);
    // far sooner than two regular beats
    assert.ok(performance.now() - signalledAtMs < 4_000);
    assert.equal(await swarm.stop(), 0);
    // how its children died is remembered, and expires
    const deaths = `swarm:{${namespace}}:deaths`;
    assert.deepEqual(await redis.client.keys(`swarm:{${namespace}}:*`), [deaths]);
    assert.ok((await redis.client.pttl(deaths)) > 0);
  });

  fullIt('marks what a killed master left behind, and its successor clears it', async (t) => {
    const { swarm, namespace, ps } = start(t, 'main.cjs', ['--count', '1']);
    await swarm.ready(1);
    await showsStates(namespace, ['up', 'up']);
    await swarm.close();
    const [before] = await ps();
    // as old as it would be in a while
    await redis.client.hincrby(`swarm:{${namespace}}:master:${before?.identity}`, 'beatAtMs', -15_500);
    const [entry] = await ps();
    assert.deepEqual([entry?.identity, entry?.stale], [before?.identity, true]);
    const { code, stdout } = await swarmCommand(['ps', '--redis', redis.url, '--namespace', namespace]);
    assert.equal(code, 0);
    assert.match(stdout, /STALE/);

    const env = { SWARM_NAMESPACE: namespace };
    const next = startSwarm(t, 'main.cjs', { redis, queues, args: ['--count', '1'], env });
    await next.line('a predecessor is accounted for', { master: before?.identity as string });
    await waitFor(
      'the old entry is gone',
      async () => (await ps()).every(({ pid }) => pid === next.pid),
      A_COMMAND_EACH,
    );
  });

  fullIt('is rebuilt within one beat after FLUSHALL, and nobody is killed for it', async (t) => {
    const own = await startRedis();
    t.after(() => own.close());
    const namespace = `registry-${++namespaces}`;
    const env = { SWARM_NAMESPACE: namespace };
    const swarm = startSwarm(t, 'main.cjs', { redis: own, queues, args: ['--count', '2'], env });
    const pids = await swarm.ready(2);
    const listed = async (): Promise<boolean> => {
      const [key] = await own.client.keys(`swarm:{${namespace}}:master:*`);
      const fields = key ? Object.keys(await own.client.hgetall(key)) : [];
      return fields.filter((field) => field.startsWith('child:')).length === 2;
    };
    await waitFor('it is listed', listed);
    await own.client.flushall();
    await waitFor('it is listed again', listed, { timeoutMs: BEAT_WITHIN_MS });
    assert.ok(Number(await own.client.zcard(`swarm:{${namespace}}:masters`)) === 1);
    assert.deepEqual([...swarm.children.values()], pids);
    assert.deepEqual(swarm.all('exited'), []);

    // an empty seat is shown as well, with who sat there
    const [pid] = pids;
    process.kill(pid as number, 'SIGKILL');
    await waitFor('the death is shown', async () => {
      const [key] = await own.client.keys(`swarm:{${namespace}}:master:*`);
      const texts = Object.values(await own.client.hgetall(key as string));
      return texts.some(
        (text) =>
          /"restarts":1,"lastDeath":\{.*"signal":"SIGKILL","cause":"signal"/.test(text) &&
          text.includes(`"pid":${pid}`),
      );
    });
  });

  fullIt('takes one call a beat, however many children; and a master at rest is light', async (t) => {
    const few = start(t, 'main.cjs', ['--count', '1']);
    const many = start(t, 'main.cjs', ['--count', '4']);
    await Promise.all([few.swarm.ready(1), many.swarm.ready(4)]);
    // what their start caused is written, and asked
    await Promise.all([
      few.swarm.line('connections to Redis'),
      many.swarm.line('connections to Redis'),
      showsStates(few.namespace, Array(2).fill('up')),
      showsStates(many.namespace, Array(5).fill('up')),
    ]);

    const sources = await Promise.all([few, many].map(({ swarm }) => addressOf(swarm)));
    const calls = new Map<string, string[]>(sources.map((source) => [source, []]));
    await monitor(t, (source, command) => calls.get(source)?.push(command));
    const startedAtMs = performance.now();
    const use = new CpuUse(many.swarm.pid);
    await waitFor('both beat twice', () => [...calls.values()].every((seen) => seen.length >= 2), {
      timeoutMs: 2 * BEAT_WITHIN_MS,
    });
    const beats = (performance.now() - startedAtMs) / 5_000;
    for (const seen of calls.values()) {
      assert.ok(seen.length <= beats + 2, `${seen} in ${beats} beats`);
      assert.deepEqual(new Set(seen.map((command) => command.toLowerCase())), new Set(['evalsha']));
    }

    const rss = rssBytes(many.swarm.pid);
    t.diagnostic(
      `a master of 4 idle children: ${use.percent.toFixed(2)} % of a core, RSS ${(rss / 1e6).toFixed(1)} MB`,
    );
    // 65 MB once V8 has tidied up after the start, which it does when it likes
    assert.ok(rss < 90e6, `${rss} bytes`);
    // on a busy machine the same work takes more of it: the least of a few looks is what it costs
    for (let looks = 0; looks < 4 && use.percent >= 1; looks++) await use.restart();
    assert.ok(use.percent < 1, `${use.percent} %`);
  });
});

/** CPU time that a process used since the last look. */
class CpuUse {
  #atMs = performance.now();
  #usedMs: number;

  constructor(private readonly pid: number) {
    this.#usedMs = cpuMs(pid);
  }

  get percent(): number {
    return (100 * (cpuMs(this.pid) - this.#usedMs)) / (performance.now() - this.#atMs);
  }

  async restart(): Promise<void> {
    this.#atMs = performance.now();
    this.#usedMs = cpuMs(this.pid);
    await waitFor('a time that says something', () => performance.now() - this.#atMs >= 5_000);
  }
}

/** Every command that Redis runs from now on, over a socket of its own: ioredis takes what comes with the first reply for another. */
async function monitor(t: TestContext, onCommand: (source: string, command: string) => void): Promise<void> {
  const socket = connect(redis.port, '127.0.0.1');
  t.after(() => socket.destroy());
  socket.write('MONITOR\r\n');
  const lines = createInterface({ input: socket });
  await once(lines, 'line');
  lines.on('line', (line) => {
    const [, source, command] = /^\+[\d.]+ \[\d+ (\S+)\] "([^"]*)"/.exec(line) ?? [];
    if (source !== undefined && command !== undefined) onCommand(source, command);
  });
}

/** Of a master's one connection, as MONITOR shows it. */
async function addressOf(swarm: Swarm): Promise<string> {
  const list = String(await redis.client.client('LIST'));
  const ofMaster = list.split('\n').filter((line) => line.includes(` name=swarm-master-${swarm.pid} `));
  assert.equal(ofMaster.length, 1, list);
  return / addr=(\S+)/.exec(ofMaster[0] as string)?.[1] as string;
}

function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
