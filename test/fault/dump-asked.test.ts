/** Dumps that somebody asks for, of children that are blocked and of those whose jobs only wait. */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startRedis, type TestRedis } from '../support/redis.js';
import { silentNames, silentServer } from '../support/silent-network.js';
import { type Dump, StuckTrial } from '../support/stuck-trial.js';
import type { Swarm } from '../support/swarm.js';
import { IS_LONG, longIt } from '../support/tier.js';
import { A_COMMAND_EACH, waitFor } from '../support/wait.js';

const NEVER = ['--stuck-after', '1h', '--stuck-kill-after', 'off'];

describe('a dump that is asked for', { concurrency: 2 }, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  it('of a child in for(;;): within a second, by the command and by TTIN', async (t) => {
    const trial = new StuckTrial(t, redis);
    const swarm = trial.startStuck({}, NEVER);
    await swarm.ready(1);
    const id = await trial.add({ hang: 'loop' });
    const { pid } = await trial.runs(id);
    const [dump] = await asked(trial, String(pid));
    assert.deepEqual([dump?.kind, dump?.trigger, dump?.job?.id], ['javascript', 'command', id]);
    assert.ok(dump?.stack.some(({ function: name }) => name.includes('spinForever')));
    const line = await swarm.line('command');
    const dumped = await swarm.line('dump', { pid });
    const tookMs = Date.parse(dumped.time) - Date.parse(line.time);
    t.diagnostic(`dumped ${tookMs} ms after the command`);
    assert.ok(tookMs < 3_000, `took ${tookMs} ms`);

    for (let signal = 0; signal < 100; signal += 1) swarm.kill('SIGTTIN');
    await swarm.line('dump', { pid, trigger: 'signal' });
    const shown = await trial.command('dumps', String(pid));
    assert.match(shown.stdout, /spinForever \[as loop\] \(.*stuck-worker\.mjs:\d+:\d+\)/);
    assert.ok(swarm.all('dump', { trigger: 'signal' }).length < 5, 'a thousand signals are one wish');
    process.kill(pid, 'SIGKILL');
    await trial.nothingLost(new Map([[swarm, 1]]));
  });

  it('of a child that has only just stopped turning', async (t) => {
    const trial = new StuckTrial(t, redis);
    const swarm = trial.startStuck({}, NEVER);
    await swarm.ready(1);
    const { pid } = await trial.runs(await trial.add({ hang: 'loop' }));
    // the loop begins a little after the job says that it runs
    await delay(50);
    swarm.kill('SIGTTIN');
    const { kind, stack } = await trial.dumpOf(pid);
    assert.equal(kind, 'javascript');
    assert.ok(stack.some(({ function: name }) => name.includes('spinForever')));
    await swarm.close();
  });

  it('of a job whose request is never answered: method, address, and for how long', async (t) => {
    const port = await silentServer(t);
    const url = `http://127.0.0.1:${port}/users?token=secret`;
    const { dump, id } = await pending(t, redis, { hang: 'fetch', url });
    const [first] = dump.io;
    assert.deepEqual([first?.type, first?.what], ['fetch', `GET http://127.0.0.1:${port}/users?…`]);
    assert.match(first?.phase ?? '', /no answer yet/);
    assert.match(first?.peer ?? '', new RegExp(`127\\.0\\.0\\.1:${port}`));
    assert.equal(first?.job?.id, id);
    assert.doesNotMatch(JSON.stringify(dump), /secret/);
  });

  it('of a job whose name is never resolved: the name', async (t) => {
    const by = await silentNames(t);
    if (typeof by === 'string') return t.skip(by);
    const { dump } = await pending(t, redis, { hang: 'dns', name: 'nobody.example' }, by);
    assert.ok(
      dump.io.some(({ type, what }) => type === 'dns' && what === 'nobody.example'),
      JSON.stringify(dump.io),
    );
  });

  longIt('of a request to a name that is never resolved: both', async (t) => {
    const by = await silentNames(t);
    if (typeof by === 'string') return t.skip(by);
    const { dump } = await pending(t, redis, { hang: 'fetch', url: 'http://nobody.example/' }, by);
    assert.equal(dump.io[0]?.what, 'GET http://nobody.example/');
    assert.ok(dump.io.some(({ what, phase }) => what === 'nobody.example' && /looking up/.test(phase)));
  });

  for (const hang of IS_LONG ? ['never', 'mutex'] : ['mutex']) {
    it(`of a job that waits for nothing (${hang}): says so`, async (t) => {
      const { trial, dump } = await pending(t, redis, { hang });
      assert.ok(dump.io.every(({ type, phase }) => type === 'socket' && phase === 'open'));
      assert.deepEqual(dump.processes, []);
      const { stdout } = await trial.command('dumps', String(dump.pid));
      assert.match(stdout, /it has begun no request, look-up or process that could end it/);
    });
  }

  it('of all: each child once, in the order of their slots', async (t) => {
    const trial = new StuckTrial(t, redis);
    const swarm = trial.start(2, { app: 'stuck-worker.mjs', args: NEVER });
    await swarm.ready(2);
    const dumps = await asked(trial, 'all');
    assert.deepEqual(
      dumps.map(({ pid, kind }) => [pid, kind]),
      [0, 1].map((slot) => [swarm.children.get(slot), 'turning']),
    );
    const missing = await trial.command('dump', '99999');
    assert.equal(missing.code, 64);
    assert.match(missing.stderr, /SWARM_NO_TARGET/);
  });

  it('without a watchdog: what can be seen from outside', async (t) => {
    const trial = new StuckTrial(t, redis);
    const swarm = trial.startStuck({ args: ['--no-watchdog', '--dump-details'] });
    await swarm.ready(1);
    const { pid } = await trial.runs(await trial.add({ hang: 'exec' }));
    const [dump] = await asked(trial, String(pid));
    assert.equal(dump?.kind, 'unseen');
    assert.match(dump?.notes.join() ?? '', /--no-watchdog/);
    assert.match(dump?.native?.command ?? '', /sleep 612/);
    process.kill(pid, 'SIGKILL');
    await trial.nothingLost(new Map([[swarm, 1]]));
  });

  it('of a child that does not stop, before it is killed', async (t) => {
    const trial = new StuckTrial(t, redis);
    const swarm = trial.startStuck({ args: ['--timeout', '2s'] }, NEVER);
    await swarm.ready(1);
    const { pid } = await trial.runs(await trial.add({ hang: 'loop' }));
    swarm.kill('SIGTERM');
    const line = await swarm.line('dump', { pid });
    assert.equal(line['trigger'], 'stop-deadline');
    assert.equal(await swarm.exited(), 1);
    assert.match((await trial.dumpOf(pid)).stack[0]?.function ?? '', /spinForever/);
  });
});

describe('a dump beside other jobs', () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  it('names all of them, and blames none alone, where the running code does not say whose it is', async (t) => {
    const trial = new StuckTrial(t, redis);
    const swarm = trial.startStuck({ env: { APP_CONCURRENCY: '2' } });
    await swarm.ready(1);
    const other = await trial.add({ ms: 600_000, first: false });
    await trial.runs(other);
    const id = await trial.add({ hang: 'loop' });
    const { pid } = await trial.runs(id);
    const dump = await trial.dumpOf(pid);
    assert.deepEqual(dump.jobs.map((job) => job.id).sort(), [other, id].sort());
    const death = await trial.deathOf(pid);
    const blame = new Map(death.jobs.map((job) => [job.id, job.blame]));
    const knows = Number.parseInt(process.versions.node, 10) >= 24;
    assert.equal(dump.job?.id, knows ? id : undefined);
    assert.deepEqual(blame.get(id), knows ? { exact: 1, shared: 0 } : { exact: 0, shared: 1 });
    assert.deepEqual(blame.get(other), knows ? { exact: 0, shared: 0 } : { exact: 0, shared: 1 });
    await swarm.stop();
  });
});

async function asked(trial: StuckTrial, target: string): Promise<Dump[]> {
  const { code, stdout, stderr } = await trial.command('dump', target, '--json');
  assert.deepEqual([code, stderr], [0, '']);
  return JSON.parse(stdout) as Dump[];
}

/** A job that waits while the loop turns, and what a dump says of it; it is handed back at the end. */
async function pending(
  t: TestContext,
  redis: TestRedis,
  data: object,
  by: readonly string[] = [],
): Promise<{ trial: StuckTrial; swarm: Swarm; dump: Dump; id: string }> {
  const trial = new StuckTrial(t, redis);
  const swarm = trial.startStuck({ by, args: ['--timeout', '1s'] });
  await swarm.ready(1);
  const id = await trial.add({ ...data, first: false });
  const { pid } = await trial.runs(id);
  // the job begins to wait a little after it says that it runs
  const dump = await waitFor(
    'a dump of the job',
    async () => {
      const [taken] = await asked(trial, String(pid));
      const isThere =
        taken?.io.some(({ phase }) => phase !== 'open') || ['never', 'mutex'].includes(hangOf(data));
      return isThere ? taken : undefined;
    },
    A_COMMAND_EACH,
  );
  assert.deepEqual([dump.kind, dump.job?.id], ['turning', id]);
  // a process whose threads wait for a name cannot end by itself
  assert.equal(await swarm.stop(), by.length > 0 ? 1 : 0);
  const [released] = await trial.queue.getJobs(['waiting', 'prioritized']);
  assert.equal(released?.id, id);
  return { trial, swarm, dump, id };
}

function hangOf(data: object): string {
  return String((data as { hang?: unknown }).hang);
}
