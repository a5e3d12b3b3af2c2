/** Faults 19, 21 and 37, with a short budget: jobs that are longer than it, a child that blocks its loop, storms of signals. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startRedis, type TestRedis } from '../support/redis.js';
import type { Swarm } from '../support/swarm.js';
import { fullDescribe, fullIt } from '../support/tier.js';
import { Trial } from '../support/trial.js';

describe('a stop', { concurrency: 3 }, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  fullIt('hands back jobs that are longer than its budget, uncharged', async (t) => {
    const trial = new Trial(t, redis);
    const env = { APP_CONCURRENCY: '2' };
    const swarm = trial.start(2, { args: ['--timeout', '1s'], env });
    await swarm.ready(2);
    const ids = await trial.addMany(4, { first: { ms: 600_000 } });
    for (const id of ids) await trial.runs(id);
    const short = await trial.add({ ms: 10 });

    const askedAtMs = Date.now();
    assert.equal(await swarm.stop(), 0);
    const tookMs = Date.now() - askedAtMs;
    t.diagnostic(`stopped after ${tookMs} ms`);
    assert.ok(tookMs > 900 && tookMs < 8_000, `stopped after ${tookMs} ms`);
    assert.deepEqual(swarm.all('kill'), []);
    for (const id of ids) assert.equal(await trial.queue.getJobState(id), 'waiting');

    const next = trial.start(2, { env });
    await next.ready(2);
    await trial.nothingLost(new Map([[next, 2]]));
    for (const id of ids) assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
    assert.deepEqual(await trial.counters(short), { attempts: 1, starts: 1, stalled: 0 });
  });

  fullIt(
    'kills a child that blocks its loop, within the budget; the next master releases its job',
    async (t) => {
      const trial = new Trial(t, redis);
      const swarm = trial.start(2, { args: ['--timeout', '1s'] });
      await swarm.ready(2);
      const id = await trial.add({ first: { spin: true, grandchildren: true } });
      const { pid } = await trial.runs(id);

      const askedAtMs = Date.now();
      assert.equal(await swarm.stop(), 1);
      const tookMs = Date.now() - askedAtMs;
      t.diagnostic(`killed and stopped after ${tookMs} ms`);
      assert.ok(tookMs < 8_000, `stopped after ${tookMs} ms`);
      const exited = await swarm.line('exited', { pid });
      assert.deepEqual([exited['cause'], exited.level], ['stopped', 'warn']);
      assert.match(String(exited['evidence']), /killed by its master/);
      assert.equal(swarm.all('kill').length, 1);
      assert.deepEqual(swarm.processes, []);
      assert.equal(await trial.queue.getJobState(id), 'active');

      const next = trial.start(1);
      await next.ready(1);
      await trial.runs(id, 2);
      await trial.nothingLost(new Map([[next, 1]]));
      assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
    },
  );

  it('is one, however many signals ask for it', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2, { args: ['--timeout', '20s'] });
    const pids = await swarm.ready(2);
    const ids = await trial.addMany(2, { ms: 3_000 });
    for (const id of ids) await trial.runs(id);

    // fast enough to be echoes of one INT: the second after a second would mean "now"
    await storm(swarm, ['SIGTERM', 'SIGINT'], 200);
    await storm(swarm, ['SIGTERM', 'SIGHUP', 'SIGTSTP', 'SIGCONT'], 800);
    assert.equal(await swarm.exited(), 0);
    assert.equal(swarm.all('stopping').length, 1);
    for (const pid of pids) assert.equal(swarm.all('draining', { pid }).length, 1);
    assert.equal(await trial.queue.getCompletedCount(), 2);
    await trial.nothingLost(new Map());
  });
});

fullDescribe('1,000 signals within a second', { concurrency: 3 }, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  it('that want nothing of the children: these go on, and work', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2);
    const pids = await swarm.ready(2);
    await storm(swarm, ['SIGTTIN', 'SIGUSR1'], 1_000);
    await storm(swarm, ['SIGTSTP', 'SIGCONT'], 1_000);
    // the kernel may hand each to another thread, so that the last one sent is not the last one heard
    await delay(1_000);
    swarm.kill('SIGCONT');
    t.diagnostic(`${swarm.lines.length} log lines`);
    await trial.addMany(10, { ms: 10 });
    await trial.nothingLost(new Map([[swarm, 2]]));
    assert.deepEqual([...swarm.children.values()].sort(), [...pids].sort());
  });

  it('that ask for a roll: the one that runs, and one more for all that came during it', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2);
    await swarm.ready(2);
    await trial.addMany(50, { ms: 50 });
    await storm(swarm, ['SIGHUP', 'SIGUSR2'], 1_000);
    await trial.addMany(50, { ms: 10 });
    await swarm.line('rolled', { generation: 2 });
    await trial.nothingLost(new Map([[swarm, 2]]));
    const generations = swarm.all('ready').map(({ generation }) => generation);
    assert.deepEqual(generations.sort(), [0, 0, 1, 1, 2, 2]);
    assert.equal(swarm.all('exited', { cause: 'rolled' }).length, 4);
  });
});

/** So many signals within about half a second, of these kinds in turn. */
async function storm(swarm: Swarm, signals: readonly NodeJS.Signals[], count: number): Promise<void> {
  for (let at = 0; at < count; at += 1) {
    swarm.kill(signals[at % signals.length] as NodeJS.Signals);
    if (at % 20 === 0) await delay(10);
  }
}
