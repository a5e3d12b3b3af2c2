/** Faults 11, 12 and 38: apps that do not boot, and a slot in which no child lives long. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startRedis, type TestRedis } from '../support/redis.js';
import type { Swarm } from '../support/swarm.js';
import { fullIt } from '../support/tier.js';
import { Trial } from '../support/trial.js';
import { waitFor } from '../support/wait.js';

const ATTEMPTS = 3;

describe('an app that cannot boot ends the master with one clear error', { concurrency: 3 }, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  const cases: { boot: string; slots?: number; args?: string[]; cause: string; says: RegExp[] }[] = [
    {
      boot: 'throws',
      slots: 2,
      cause: 'uncaught',
      says: [/Error: DATABASE_URL is not set/, /at connectToNothing \(.*fault-boot\.mjs:\d+:\d+\)/],
    },
    { boot: 'exits', cause: 'exit', says: [/exit code 3/] },
    {
      boot: 'spins',
      args: ['--boot-timeout', '1s'],
      cause: 'boot-timeout',
      says: [/1000 ms \(--boot-timeout\)/],
    },
    {
      boot: 'waits',
      args: ['--boot-timeout', '1s'],
      cause: 'boot-timeout',
      says: [/1000 ms \(--boot-timeout\)/],
    },
  ];
  for (const { boot, slots = 1, args = [], cause, says } of cases) {
    (boot === 'exits' ? it : fullIt)(boot, async (t) => {
      const trial = new Trial(t, redis);
      const swarm = trial.start(slots, { app: 'fault-boot.mjs', args, env: { APP_BOOT: boot } });
      const code = await swarm.exited();
      const endedAtMs = Date.now();

      assert.equal(code, 70);
      const exits = swarm.all('exited');
      assert.equal(swarm.spawnedPids.length, slots * ATTEMPTS, 'three boots in each slot');
      assert.deepEqual(new Set(exits.map((line) => line['cause'])), new Set([cause]));
      const afterMs = endedAtMs - Date.parse(exits.at(-1)?.time ?? '');
      t.diagnostic(`exit 70 ${afterMs} ms after the last failed boot`);
      assert.ok(afterMs < 5_000, `ended ${afterMs} ms after the last failed boot`);
      assert.equal(swarm.stderr.match(/SWARM_APP_FAILED/g)?.length, 1);
      for (const pattern of says) assert.match(swarm.stderr, pattern);
      await trial.nothingLost(new Map(), { stderr: /^swarm: SWARM_APP_FAILED: / });
    });
  }
});

describe('a slot in which no child lives long', { concurrency: 3 }, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  fullIt('backs off alone and never gives up, while a healthy neighbour restarts at once', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(3, { env: { APP_CRASH_SLOT: '0' } });
    const healthy = await readyIn(swarm, [1, 2]);
    await swarm.line('exited', { slot: 0 }, { nth: 5 });
    await trial.addMany(6, { ms: 10 });
    await waitFor('a healthy life', () => sinceReadyMs(swarm, 1) > 10_500);

    process.kill(healthy.get(1) as number, 'SIGKILL');
    const exited = await swarm.line('exited', { slot: 1 });
    const spawned = await swarm.line('spawned', { slot: 1 }, { nth: 2 });
    assert.equal(exited['restart_in'], '0ms');
    t.diagnostic(`slot spawning ${Date.parse(spawned.time) - Date.parse(exited.time)} ms after the exit`);
    await swarm.line('ready', { slot: 1 }, { nth: 2 });

    assert.deepEqual(swarm.all('exited', { slot: 2 }), []);
    const pauses = swarm
      .all('exited', { slot: 0 })
      .map((line) => Number.parseInt(String(line['restart_in']), 10));
    t.diagnostic(`slot 0 waited ${pauses.join(', ')} ms`);
    pauses.forEach((ms, at) => assert.ok(ms <= Math.min(30_000, 500 * 2 ** at), `pause ${at + 1}: ${ms} ms`));
    const waitedMs = pauses.reduce((sum, ms) => sum + ms, 0);
    assert.ok(waitedMs > 500, `the pauses do not grow: ${waitedMs} ms in all`);
    const code = await swarm.stop();
    // the cursed one may die too late for anybody to look at what it left
    assert.equal(code, swarm.lines.some(({ message }) => message.startsWith('a dead child may')) ? 1 : 0);
    await trial.nothingLost(new Map());
  });

  it('even if it never boots, and even if the others are slower to boot than it is to fail', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2, { app: 'fault-boot.mjs', env: { APP_BOOT: 'exits', APP_BOOT_SLOT: '0' } });
    await readyIn(swarm, [1]);
    await swarm.line('exited', { slot: 0 }, { nth: ATTEMPTS + 1 });
    await swarm.line('spawned', { slot: 0 }, { nth: ATTEMPTS + 2 });
    assert.deepEqual(swarm.all('exited', { slot: 1 }), []);
    await trial.addMany(3, {});
    await waitFor('the jobs are done', async () => (await trial.queue.getCompletedCount()) === 3);
    assert.equal(await swarm.stop(), 0);
    await trial.nothingLost(new Map());
  });
});

async function readyIn(swarm: Swarm, slots: readonly number[]): Promise<Map<number, number>> {
  for (const slot of slots) await swarm.line('ready', { slot });
  return swarm.children;
}

function sinceReadyMs(swarm: Swarm, slot: number): number {
  return Date.now() - Date.parse(swarm.all('ready', { slot }).at(-1)?.time ?? '');
}
