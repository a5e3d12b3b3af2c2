/** Fault 6, and every other way for a process to end but the kernel's: each death is explained, and recorded. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { DeathRecord } from 'bullmq-swarm/registry';
import { DeathTrial } from '../support/death-trial.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { waitFor } from '../support/wait.js';

const MB = 1e6;

describe('a process that ends is explained', { concurrency: 2 }, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  it('by an error that nobody caught: its stack, its stderr, its jobs', async (t) => {
    const trial = new DeathTrial(t, redis);
    const swarm = trial.startSwarm(2);
    await swarm.ready(2);
    const says = 'connecting to redis://me:secret@db \u001b[2J';
    const { id, exited, death } = await trial.fatal(swarm, { way: 'throws', says });
    assert.deepEqual([exited['cause'], exited['code'], exited.level], ['uncaught', 1, 'warn']);
    assert.equal(exited['evidence'], 'TypeError: broken by its job');
    assert.match(
      death.evidence.uncaught?.stack ?? '',
      /^TypeError: broken by its job\n +at .*breakDown \(.*deaths\.mjs:\d+:\d+\)/,
    );
    assert.equal(death.stderr[0], 'connecting to redis://me:***@db \u001b[2J');
    assert.ok(death.stderr.includes('TypeError: broken by its job'));
    assert.deepEqual(
      death.jobs.map(({ queue, name, outcome, blame, ...job }) => [queue, job.id, name, outcome, blame]),
      [[trial.queue.name, id, 'job', 'released', { exact: 1, shared: 0 }]],
    );
    const { node, generation, group, code, signal, host } = death;
    assert.deepEqual(
      { node, generation, group, code, signal, host, identity: death.identity.split(':').slice(0, 2) },
      {
        node: process.versions.node,
        generation: 0,
        group: 'default',
        code: 1,
        signal: null,
        host,
        identity: [host, String(death.pid)],
      },
    );
    assert.ok(
      death.addons.every((file) => file.endsWith('.node')),
      String(death.addons),
    );

    const shown = await trial.shownDeaths(String(death.pid));
    assert.match(shown, /breakDown/);
    assert.match(shown, /\\u\{1b\}\[2J/);
    assert.ok(!shown.includes('\u001b') && !shown.includes('secret'), shown);
    await trial.nothingLost(new Map([[swarm, 2]]));
  });

  it('by itself: its exit code', async (t) => {
    const trial = new DeathTrial(t, redis);
    const swarm = trial.startSwarm(2);
    await swarm.ready(2);
    const { death } = await trial.fatal(swarm, { way: 'exits', code: 3 });
    assert.deepEqual(
      [death.cause, death.code, death.evidence.summary],
      ['exit', 3, 'ended itself with exit code 3'],
    );
    await trial.nothingLost(new Map([[swarm, 2]]));
  });

  it('by a signal that somebody else sent, or a crash: which one, and what would tell more', async (t) => {
    const trial = new DeathTrial(t, redis);
    const swarm = trial.startSwarm(2);
    await swarm.ready(2);
    for (const signal of ['SIGKILL', 'SIGSEGV'] as const) {
      const id = await trial.add({ way: 'waits' });
      const { pid } = await trial.runs(id);
      await waitFor(
        'a beat with the job',
        async () => (await trial.registry.jobs()).some((job) => job.id === id),
        { timeoutMs: 15_000 },
      );
      process.kill(pid, signal);
      const death = await trial.death(pid);
      assert.deepEqual([death.cause, death.signal, death.evidence.killedFor], ['signal', signal, null]);
      const [job] = death.jobs;
      assert.deepEqual([death.jobs.length, job?.id, job?.name, job?.outcome], [1, id, 'job', 'released']);
      assert.ok((job?.startedAtMs as number) <= death.atMs);
      assert.ok((death.rssBytes as number) > 20 * MB && death.memory.length > 1);
      if (signal === 'SIGKILL') assert.match(death.evidence.hint ?? '', /kill -9/);
      else assert.match(death.evidence.summary, /native code crashed .*, or somebody else sent it/);
      t.diagnostic(`${death.evidence.summary}; ${death.evidence.hint}`);
      await swarm.ready(2);
    }
    await trial.nothingLost(new Map([[swarm, 2]]));
  });

  it('by a full heap of V8, told apart from an abort', async (t) => {
    const trial = new DeathTrial(t, redis);
    const swarm = trial.startSwarm(2, { args: ['--node-arg', '--max-old-space-size=48'] });
    await swarm.ready(2);
    const full = await trial.fatal(swarm, { way: 'heap' });
    assert.deepEqual([full.death.cause, full.death.signal], ['heap-oom', 'SIGABRT']);
    assert.match(full.death.evidence.heapOom ?? '', /^FATAL ERROR: .*heap out of memory/);
    assert.equal(full.death.evidence.oom, null);
    const aborted = await trial.fatal(swarm, { way: 'aborts' });
    assert.deepEqual([aborted.death.cause, aborted.death.signal], ['signal', 'SIGABRT']);
    await trial.nothingLost(new Map([[swarm, 2]]));
  });

  it('by its master, for a boot that takes too long', async (t) => {
    const trial = new DeathTrial(t, redis);
    const env = { APP_BOOT: 'waits', APP_BOOT_SLOT: '0' };
    const swarm = trial.startSwarm(1, { app: 'fault-boot.mjs', env, args: ['--boot-timeout', '1s'] });
    const { pid } = await swarm.line('exited', { cause: 'boot-timeout' });
    const death = await trial.death(pid as number);
    assert.deepEqual(
      [death.cause, death.evidence.killedFor, death.evidence.wasReady],
      ['boot-timeout', 'boot-timeout', false],
    );
    await swarm.exited();
    await trial.nothingLost(new Map(), { stderr: /SWARM_APP_FAILED/ });
  });

  it('by its master’s orders: on record, but not in the way', async (t) => {
    const trial = new DeathTrial(t, redis);
    const swarm = trial.startSwarm(2, { args: ['--timeout', '1s'] });
    const pids = await swarm.ready(2);
    swarm.kill('SIGHUP');
    await swarm.line('rolled');
    const rolled = await Promise.all(pids.map((pid) => trial.death(pid)));
    assert.deepEqual(
      rolled.map(({ cause, code, generation }) => [cause, code, generation]),
      Array(2).fill(['rolled', 0, 0]),
    );
    const [held, spinning] = [await trial.add({ way: 'waits' }), await trial.add({ way: 'spins' })];
    const [kind, mad] = [await trial.runs(held), await trial.runs(spinning)];
    assert.equal(await swarm.stop(), 1);
    const [stopped, killed] = [await trial.death(kind.pid), await trial.death(mad.pid)];
    assert.deepEqual(
      [stopped.cause, stopped.evidence.killedFor, stopped.evidence.leavesFor],
      ['stopped', null, 'stop'],
    );
    assert.deepEqual(
      stopped.jobs.map(({ id, outcome }) => [id, outcome]),
      [[held, 'handed-back']],
    );
    assert.deepEqual(
      [killed.cause, killed.evidence.killedFor, killed.signal],
      ['stopped', 'stop-timeout', 'SIGKILL'],
    );

    const shown = JSON.parse(await trial.shownDeaths('--json')) as DeathRecord[];
    assert.deepEqual(
      shown.map(({ pid }) => pid),
      [mad.pid],
    );
    const all = JSON.parse(await trial.shownDeaths('--json', '--all')) as DeathRecord[];
    assert.deepEqual(new Set(all.map(({ pid }) => pid)), new Set([...pids, kind.pid, mad.pid]));
    const next = trial.startSwarm(1);
    await trial.nothingLost(new Map([[next, 1]]));
  });

  it('also if Redis is away at that time: recorded when it is back', async (t) => {
    const own = await startRedis(['--appendonly', 'yes', '--appendfsync', 'always']);
    const trial = new DeathTrial(t, own);
    // hooks run in this order: what is connected to it is closed before it
    t.after(() => own.close());
    const swarm = trial.startSwarm(2);
    const [pid] = (await swarm.ready(2)) as [number, number];
    await trial.add({});
    await own.stop();
    const killedAtMs = Date.now();
    process.kill(pid, 'SIGKILL');
    await swarm.line('exited', { pid, cause: 'signal' });
    await swarm.line('death records wait: Redis does not take them', {}, { timeoutMs: 30_000 });
    const backAtMs = Date.now();
    await own.start();
    const death = await trial.death(pid);
    assert.ok(
      death.atMs < backAtMs && Math.abs(death.atMs - killedAtMs) < 5_000,
      `${death.atMs - killedAtMs} ms`,
    );
    await trial.nothingLost(new Map([[swarm, 2]]));
  });
});
