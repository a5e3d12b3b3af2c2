/** A swarm inside a program: `import { Swarm } from 'bullmq-swarm'`. This process is that program. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { pathToFileURL } from 'node:url';
import type * as Package from '../../packages/swarm/dist/index.js';
import { noJobLost } from '../support/accounts.js';
import { running } from '../support/jobs.js';
import { temporaryDirectory } from '../support/programs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { appPath, cleanEnv } from '../support/swarm.js';
import { Trial } from '../support/trial.js';
import { isAlive, waitFor } from '../support/wait.js';

// what is built of this checkout, seen from test/dist/process
const ENTRY = new URL('../../../packages/swarm/dist/index.js', import.meta.url).href;
const { Swarm } = (await import(ENTRY)) as typeof Package;

describe('a swarm inside a program', () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  function embed(t: TestContext, trial: Trial, options: Package.SwarmOptions = {}): Package.Swarm {
    Object.assign(process.env, { QUEUE_NAME: trial.queue.name, QUEUE_REDIS_PORT: String(redis.port) });
    const swarm = new Swarm({
      app: pathToFileURL(appPath('fault-worker.mjs')),
      count: 2,
      redis: redis.url,
      namespace: trial.namespace,
      env: cleanEnv(),
      timeout: '2s',
      ...options,
    });
    t.after(() => swarm.stop().catch(() => {}));
    return swarm;
  }

  it('is started, shows its children, takes commands, and is stopped', async (t) => {
    const trial = new Trial(t, redis);
    const listeners = process.listenerCount('SIGTERM');
    const swarm = embed(t, trial);
    const states: string[] = [];
    swarm.on('state', (state) => states.push(state));
    const rolled = new Promise((resolve) =>
      swarm.once('rolled', (generation, error) => resolve([generation, error])),
    );
    assert.equal(swarm.identity, null);
    await swarm.start();
    await waitFor('both are up', () => swarm.children.filter(({ state }) => state === 'up').length === 2);
    const pids = swarm.children.map(({ pid }) => pid);
    assert.match(swarm.identity ?? '', new RegExp(`:${process.pid}:`));

    await trial.addMany(40, { ms: 20 });
    assert.match(await swarm.roll(), /^generation 1; 2\/2 up$/);
    assert.deepEqual(await rolled, [1, null]);
    assert.equal(await swarm.scale(3), '3/3 up');
    assert.match(await swarm.recycle(2), /^slot 2 replaced: pid \d+$/);
    await swarm.quiet();
    assert.equal(swarm.state, 'quiet');
    await swarm.resume();
    assert.match(await swarm.quiet(0), /^slot 0 is quiet$/);
    await swarm.resume(0);
    await noJobLost({ redis, jobs: [{ queue: trial.queue, ids: trial.ids }] });
    await assert.rejects(swarm.recycle(99), {
      code: 'SWARM_COMMAND_FAILED',
      message: /^recycle: this child is gone/,
    });

    assert.equal(await swarm.stop(), 0);
    assert.equal(await swarm.stop(), 0, 'and once more');
    assert.deepEqual(states, ['starting', 'running', 'quiet', 'running', 'stopping', 'stopped']);
    await assert.rejects(swarm.roll(), { message: 'roll: this swarm is stopped' });
    await assert.rejects(swarm.start(), { code: 'SWARM_ALREADY_STARTED' });
    assert.ok(pids.every((pid) => !isAlive(pid)));
    assert.equal(process.listenerCount('SIGTERM'), listeners, 'signals are the program’s own');
  });

  it('tells of deaths, releases, logs and output', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = embed(t, trial, { logLevel: 'warn' });
    const ready: number[] = [];
    const logged: string[] = [];
    const printed: string[] = [];
    swarm.on('ready', ({ pid }) => ready.push(pid));
    swarm.on('log', ({ level, message }) => logged.push(`${level} ${message}`));
    swarm.on('output', ({ text }) => printed.push(text));
    await swarm.start();
    await waitFor('both are ready', () => ready.length === 2);
    const id = await trial.add({ first: { ms: 600_000 } });
    await running(redis, trial.queue, id);
    await waitFor('its child has said so', () => printed.includes(`runs ${id}`));
    const runner = await waitFor('its child', () =>
      swarm.children.find(({ jobs }) => jobs.some((job) => job.id === id)),
    );
    const exited = new Promise<Package.SwarmExit>((resolve) => swarm.once('exited', resolve));
    const released = new Promise<readonly { id: string }[]>((resolve) => swarm.once('released', resolve));
    process.kill(runner.pid, 'SIGKILL');
    const { pid, slot, cause, signal, busy } = await exited;
    assert.deepEqual(
      { pid, slot, cause, signal, busy },
      { pid: runner.pid, slot: runner.slot, cause: 'signal', signal: 'SIGKILL', busy: 1 },
    );
    assert.deepEqual(
      (await released).map((job) => job.id),
      [id],
    );
    await waitFor('another one is ready', () => ready.length === 3);
    await noJobLost({ redis, jobs: [{ queue: trial.queue, ids: trial.ids }] });
    assert.ok(logged.includes('warn exited') && !logged.some((line) => line.startsWith('info')));
    assert.equal(await swarm.stop(), 0);
  });

  it('rejects what cannot start, with what the command would say', async (t) => {
    const trial = new Trial(t, redis);
    const refused = [
      [{ count: 0 }, 64, /^count in new Swarm\(\) takes a whole number from 1 to 512, got "0"$/],
      [{ cuont: 4 }, 64, /^new Swarm\(\) has an unknown key "cuont": did you mean count\?$/],
      [{ watchdog: 'no' }, 64, /^watchdog in new Swarm\(\) takes true or false, got "no"$/],
      [{ app: './nothing.js' }, 64, /nothing\.js/],
      [
        { groups: { a: { count: 1, maxMemory: 5 } } },
        64,
        /^groups\.a\.maxMemory in new Swarm\(\) takes a size/,
      ],
      [{ redis: 'redis://127.0.0.1:1' }, 69, /no Redis at redis:\/\/127\.0\.0\.1:1/],
    ] as const;
    for (const [options, exitCode, message] of refused) {
      const swarm = embed(t, trial, options as Package.SwarmOptions);
      await assert.rejects(swarm.start(), { name: 'SwarmError', exitCode, message });
      assert.equal(swarm.state, 'stopped');
    }
    const broken = join(await temporaryDirectory(t), 'broken.mjs');
    await writeFile(broken, 'throw new Error("no database today")');
    await assert.rejects(embed(t, trial, { app: broken, count: 1 }).start(), {
      exitCode: 70,
      message: /no database today/,
    });
  });

  it('code stands above variables, and no file is looked for', async (t) => {
    const trial = new Trial(t, redis);
    const cwd = await temporaryDirectory(t);
    await writeFile(join(cwd, 'swarm.config.json'), '{"count": 7, "labels": ["file"]}');
    const env = { ...cleanEnv(), SWARM_COUNT: '5', SWARM_LABELS: 'env' };
    const swarm = embed(t, trial, { cwd, env, count: 1 });
    await swarm.start();
    assert.deepEqual(
      swarm.children.map(({ slot }) => slot),
      [0],
    );
    await swarm.stop();
    const other = embed(t, trial, { cwd, env: cleanEnv(), config: 'swarm.config.json', count: 1 });
    await other.start();
    assert.equal(other.children.length, 1);
    await other.stop();
  });

  it('a stop before it is ready ends the start', async (t) => {
    const swarm = embed(t, new Trial(t, redis));
    const started = swarm.start();
    assert.equal(await swarm.stop(), 0);
    await assert.rejects(started, { code: 'SWARM_STOPPED' });
    const idle = embed(t, new Trial(t, redis));
    assert.equal(await idle.stop(), 0);
    assert.equal(idle.state, 'stopped');
  });

  it('its children go when the program is killed', async (t) => {
    const trial = new Trial(t, redis);
    const file = join(await temporaryDirectory(t), 'program.mjs');
    await writeFile(
      file,
      `import { Swarm } from ${JSON.stringify(ENTRY)};
       const swarm = new Swarm({ app: ${JSON.stringify(appPath('fault-worker.mjs'))}, count: 1, redis: ${JSON.stringify(redis.url)} });
       await swarm.start();
       console.log(swarm.children[0].pid);`,
    );
    const env = { ...cleanEnv(), QUEUE_NAME: trial.queue.name, QUEUE_REDIS_PORT: String(redis.port) };
    const program = spawn(process.execPath, [file], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    t.after(() => program.kill('SIGKILL'));
    const [text] = (await once(program.stdout, 'data')) as [Buffer];
    const pid = Number(text);
    assert.ok(isAlive(pid));
    program.kill('SIGKILL');
    await waitFor('its child is gone', () => !isAlive(pid), { timeoutMs: 20_000 });
  });
});
