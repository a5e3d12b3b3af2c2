/** Faults 27 and 28: a roll to code that does not boot, and crashes during a roll, a recycle and a scale-down. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { project } from '../support/programs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { appPath, type Swarm } from '../support/swarm.js';
import { Trial } from '../support/trial.js';
import { waitFor } from '../support/wait.js';

let redis: TestRedis;

before(async () => {
  redis = await startRedis();
});

after(() => redis.close());

const THROWS = "throw new Error('DATABASE_URL is not set');\n";
const HANGS = 'await new Promise(() => setInterval(() => {}, 1_000));\n';

/** Jobs that come and go for as long as the test lasts. */
function keepBusy(t: TestContext, trial: Trial): () => void {
  const load = setInterval(() => void trial.add({ ms: 50 }), 100);
  t.after(() => clearInterval(load));
  return () => clearInterval(load);
}

function kill(pid: number | undefined): void {
  assert.ok(pid !== undefined);
  process.kill(pid, 'SIGKILL');
}

/** Who was ready there last, and is not gone. */
function pidIn(swarm: Swarm, slot: number): number {
  const pid = swarm.children.get(slot);
  assert.ok(pid !== undefined, `nobody is in slot ${slot}`);
  return pid;
}

describe('a roll to code that does not boot', { concurrency: true }, () => {
  const cases = [
    {
      name: 'it throws',
      code: THROWS,
      args: [],
      why: /: Error: DATABASE_URL is not set; the old children go on\n$/,
    },
    {
      name: 'it hangs',
      code: HANGS,
      args: ['--boot-timeout', '20s'],
      why: /was not ready within 20000 ms \(--boot-timeout\): .*; the old children go on\n$/,
    },
  ];
  for (const { name, code, args, why } of cases) {
    it(`${name}: stops, says why, and leaves the old children working`, async (t) => {
      const trial = new Trial(t, redis);
      const directory = await project(t, { 'worker.mjs': { app: 'fault-worker.mjs' } });
      const app = join(directory, 'worker.mjs');
      const swarm = trial.start(2, { app, args });
      const before = await swarm.ready(2);
      const rest = keepBusy(t, trial);
      await writeFile(app, code);
      const rolled = await trial.command('roll');
      assert.equal(rolled.code, 1);
      assert.match(rolled.stdout, /: roll failed: the new child did not live: /);
      assert.match(rolled.stdout, why);
      const stopped = await swarm.line('roll stopped: the new code does not boot; the old children go on');
      assert.match(`: ${stopped['error']}; the old children go on\n`, why);
      const shown = () => trial.command('ps').then(({ stdout }) => stdout.replace(/\s+/g, ' '));
      await waitFor('ps says so', async () =>
        /generation 0, the roll to 1 failed: the new child/.test(await shown()),
      );
      assert.deepEqual([...swarm.children.values()].toSorted(), before.toSorted());
      assert.equal(swarm.spawnedPids.length, 3, 'one try, of one child');

      // the next deploy mends it
      await writeFile(app, await readFile(appPath('fault-worker.mjs')));
      const mended = await trial.command('roll');
      assert.match(mended.stdout, /: roll done: generation 2; 2\/2 up\n$/);
      assert.equal(mended.code, 0);
      rest();
      await trial.nothingLost(new Map([[swarm, 2]]));
    });
  }
});

describe('a crash during', { concurrency: true }, () => {
  it('a roll, of old children: each seat is filled by the new generation', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(3);
    await swarm.ready(3);
    const rest = keepBusy(t, trial);
    const rolling = trial.command('roll');
    await swarm.line('spawned', { slot: 0, generation: 1 });
    // one whose successor is on its way, and one that waits for its turn
    kill(pidIn(swarm, 0));
    kill(pidIn(swarm, 2));
    await swarm.line('draining', { slot: 1 }, { timeoutMs: 60_000 });
    const { code, stdout } = await rolling;
    rest();
    assert.match(stdout, /: roll done: generation 1; /);
    assert.equal(code, 0);
    await swarm.ready(3);
    for (const slot of [0, 1, 2]) {
      const last = swarm.lines.findLast((line) => line.message === 'ready' && line.slot === slot);
      assert.equal(last?.generation, 1, `slot ${slot}`);
    }
    await trial.nothingLost(new Map([[swarm, 3]]));
  });

  it('a roll, of an old child on its way out: its job is released', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2);
    await swarm.ready(2);
    const ids = await trial.addMany(2, { first: { ms: 600_000 } });
    for (const id of ids) await trial.runs(id);
    const rolling = trial.command('roll');
    for (const slot of [0, 1]) {
      const { pid } = await swarm.line('draining', { slot }, { timeoutMs: 60_000 });
      kill(pid);
    }
    const { code, stdout } = await rolling;
    assert.match(stdout, /: roll done: generation 1; 2\/2 up\n$/);
    assert.equal(code, 0);
    await trial.nothingLost(new Map([[swarm, 2]]));
    for (const id of ids) assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
  });

  it('a roll, of the new child before it has settled: the roll stops, the old ones stay', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2);
    const before = await swarm.ready(2);
    const rest = keepBusy(t, trial);
    const rolling = trial.command('roll');
    const { pid } = await swarm.line('spawned', { slot: 0, generation: 1 });
    kill(pid);
    const { code, stdout } = await rolling;
    rest();
    assert.match(stdout, /: roll failed: the new child did not live: .*SIGKILL.*; the old children go on\n$/);
    assert.equal(code, 1);
    assert.deepEqual([...swarm.children.values()].toSorted(), before.toSorted());
    await trial.nothingLost(new Map([[swarm, 2]]));
  });

  it('a recycle, of the old child: the new one takes the seat as it is', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2);
    await swarm.ready(2);
    const id = await trial.add({ first: { ms: 600_000 } });
    const { pid, slot } = await trial.runs(id);
    const recycling = trial.command('recycle', String(pid));
    const next = await swarm.line('spawned', { slot }, { nth: 2 });
    kill(pid);
    const { code, stdout } = await recycling;
    assert.match(stdout, new RegExp(`: recycle done: slot ${slot} replaced: pid ${next.pid}\n$`));
    assert.equal(code, 0);
    await trial.nothingLost(new Map([[swarm, 2]]));
    assert.equal(swarm.spawnedPids.length, 3, 'no other was needed');
    assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
  });

  it('a scale-down, of a child that leaves and of one that stays', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(4);
    await swarm.ready(4);
    const ids = await trial.addMany(4, { first: { ms: 600_000 } });
    for (const id of ids) await trial.runs(id);
    const scaling = trial.command('scale', String(swarm.pid), '2');
    const leaving = [await swarm.line('draining', { slot: 2 }), await swarm.line('draining', { slot: 3 })];
    kill(pidIn(swarm, 0));
    for (const { pid } of leaving) kill(pid);
    const { code, stdout } = await scaling;
    assert.match(stdout, /: scale done: \d\/2 up\n$/);
    assert.equal(code, 0);
    // the one that was not killed goes on with its job of ten minutes
    kill(pidIn(swarm, 1));
    await trial.nothingLost(new Map([[swarm, 2]]), { timeoutMs: 60_000 });
    assert.deepEqual([...swarm.children.keys()].toSorted(), [0, 1]);
    for (const id of ids) assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
  });
});
