/** Limits over several processes, and what becomes of jobs that are over one. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it, type TestContext } from 'node:test';
import { Worker } from 'bullmq';
import { Limiter, rescheduleOverLimit } from 'bullmq-swarm/limiter';
import { Worker as Worker5 } from 'bullmq5';
import { openQueue } from '../support/jobs.js';
import { LimitProgram } from '../support/limit-program.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { appPath } from '../support/swarm.js';
import { Trial } from '../support/trial.js';
import { A_COMMAND_EACH, waitFor } from '../support/wait.js';

interface Use {
  /** The order in which Redis heard of it, from 1. */
  arrived: number;
  /** The order in which it began, from 1. */
  place: number;
  /** How many were at work then, itself included. */
  atWork: number;
  startedAtUs: number;
  heldMs: number;
}

function unique(): string {
  return `l-${randomBytes(4).toString('hex')}`;
}

describe('limiters', () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
    Limiter.connect(redis.client);
  });
  after(async () => {
    await Limiter.close();
    await redis.close();
  });

  it('let in 2 of 8 processes with 50 waiters each: never more, in order, without a pause', async (t) => {
    const uses = await usesOf(t, { processes: 8, waiters: 50, rounds: 1, holdMs: 20, limit: 2 });
    assert.equal(uses.length, 400);
    assert.ok(Math.max(...uses.map(({ atWork }) => atWork)) <= 2, 'never above 2');
    const places = unfairness(uses);
    const { utilization, meanHeldMs } = throughput(uses, 2);
    t.diagnostic(
      `p99 of unfairness ${places} places, ${(100 * utilization).toFixed(1)} % of the ideal at holds of ${meanHeldMs.toFixed(1)} ms`,
    );
    // a busy machine is late now and then, never unfair
    assert.ok(places <= 5, `${places} places`);
    assert.ok(utilization > 0.5, `${utilization} of the ideal`);
  });

  it('free what a killed program held, when it has not renewed it in time', async (t) => {
    const name = unique();
    const lockTimeoutMs = 1_500;
    const holder = new LimitProgram(appPath('limit-holder.mjs'), {
      REDIS_URL: redis.url,
      LIMITER: name,
      LOCK_MS: String(lockTimeoutMs),
    });
    t.after(() => holder.close());
    assert.equal(await holder.line(1), 'held');
    const limiter = Limiter.concurrent(name, 1, { waitTimeoutMs: 60_000 });
    const next = limiter.withinLimit(() => performance.now());
    await waitFor('the next waits', async () => (await limiter.status()).waiting === 1);
    holder.kill();
    const killedAtMs = performance.now();
    const freeAfterMs = (await next) - killedAtMs;
    t.diagnostic(`free ${freeAfterMs.toFixed(0)} ms after the kill`);
    assert.ok(freeAfterMs > lockTimeoutMs / 2 && freeAfterMs < 10 * lockTimeoutMs, `${freeAfterMs} ms`);
  });

  it('in a swarm app delay what is over them, uncharged, and fail it at last', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1, { app: 'limit-app.mjs' });
    await swarm.ready(1);
    const name = unique();
    const lease = await Limiter.concurrent(name, 1).tryAcquire();
    const id = await trial.add({ limiter: name, waitTimeoutMs: 0 }, { attempts: 1 });
    await waitFor('it was over the limit twice', async () => {
      return Number(await redis.client.hget(trial.queue.toKey(id), 'swarmOverrated')) >= 2;
    });
    assert.equal((await trial.counters(id)).attempts, 0);
    await lease?.release();
    await waitFor('it is done', () => trial.queue.getJob(id).then((job) => job?.isCompleted()));
    assert.equal((await trial.counters(id)).attempts, 1);
    assert.equal(await redis.client.hexists(trial.queue.toKey(id), 'swarmOverrated'), 0);

    const again = await Limiter.concurrent(name, 1).tryAcquire();
    const failing = await trial.add({ limiter: name, waitTimeoutMs: 0 }, { attempts: 1 });
    await waitFor('it has failed', async () => (await trial.queue.getJobState(failing)) === 'failed');
    assert.match(
      (await trial.queue.getJob(failing))?.failedReason ?? '',
      /over the limit of .*rescheduled 3 times in a row/,
    );
    assert.equal((await trial.counters(failing)).attempts, 1);
    await again?.release();
    await swarm.stop();
  });

  for (const [major, WorkerOf] of [
    [6, Worker],
    [5, Worker5],
  ] as const) {
    it(`in a program of its own, with bullmq ${major}`, async (t) => {
      const name = unique();
      const queue = openQueue(redis, unique(), { major });
      const limiter = Limiter.concurrent(name, 1, { waitTimeoutMs: 0, backoffMs: () => 20 });
      const worker = new (WorkerOf as typeof Worker)(
        queue.name,
        async (job, token) => {
          try {
            return await limiter.withinLimit(() => job.id);
          } catch (error) {
            return rescheduleOverLimit(job, token, error);
          }
        },
        { connection: { host: '127.0.0.1', port: redis.port } },
      );
      t.after(async () => {
        await worker.close();
        await queue.close();
      });
      const lease = await limiter.tryAcquire();
      const added = await queue.add('job', {}, { attempts: 1 });
      const key = queue.toKey(added.id as string);
      await waitFor('it was over the limit twice', async () => {
        return Number(await redis.client.hget(key, 'swarmOverrated')) >= 2;
      });
      await lease?.release();
      await waitFor('it is done', () => added.isCompleted());
      assert.equal(Number(await redis.client.hget(key, 'atm')), 1);
      await assert.rejects(
        rescheduleOverLimit(added, 'token', new RangeError('not mine')),
        /not mine/,
        'another error is as it was',
      );
    });
  }

  it('are listed', async (t) => {
    const trial = new Trial(t, redis);
    const name = `${unique()}:ü`;
    await Limiter.window(name, 3, 60_000).withinLimit(() => {});
    const limits = await waitFor(
      'the limiter is listed',
      async () => {
        const { stdout, code } = await trial.command('limits', '--json');
        assert.equal(code, 0);
        const all = JSON.parse(stdout) as { name: string; type: string; used: number }[];
        return all.find((status) => status.name === name);
      },
      A_COMMAND_EACH,
    );
    assert.deepEqual([limits.type, limits.used], ['window', 1]);
    const { stdout } = await trial.command('limits');
    assert.match(stdout, /^NAME +ALLOWS +USED/);
    assert.match(stdout, /3 in any 1m +1 +0/);
  });

  async function usesOf(
    t: TestContext,
    options: { processes: number; waiters: number; rounds: number; holdMs: number; limit: number },
  ): Promise<Use[]> {
    const { processes, waiters, rounds, holdMs, limit } = options;
    const env = {
      REDIS_PORT: String(redis.port),
      LIMITER: unique(),
      WAITERS: String(waiters),
      ROUNDS: String(rounds),
      HOLD_MS: String(holdMs),
      LIMIT: String(limit),
    };
    const programs = Array.from(
      { length: processes },
      () => new LimitProgram(appPath('limit-user.mjs'), env),
    );
    t.after(() => Promise.all(programs.map((program) => program.close())));
    for (const program of programs) assert.equal(await program.line(1), 'ready');
    for (const program of programs) program.say('go');
    const lines = await Promise.all(programs.map((program) => program.line(2, 120_000)));
    return lines.flatMap((line) => (JSON.parse(line) as { uses: Use[] }).uses);
  }
});

/** How many places 99 of 100 uses began earlier or later than they came, at most. */
function unfairness(uses: readonly Use[]): number {
  const byArrival = [...uses].sort((a, b) => a.arrived - b.arrived);
  const rank = new Map(byArrival.map((use, at) => [use, at]));
  const places = [...uses]
    .sort((a, b) => a.place - b.place)
    .map((use, at) => Math.abs(at - (rank.get(use) ?? 0)))
    .sort((a, b) => a - b);
  return places[Math.ceil(places.length * 0.99) - 1] ?? Number.NaN;
}

/** As a share of what would be, if each began at the moment at which the one before ended. */
function throughput(uses: readonly Use[], limit: number): { utilization: number; meanHeldMs: number } {
  const heldMs = uses.reduce((sum, use) => sum + use.heldMs, 0);
  const beganMs = Math.min(...uses.map(({ startedAtUs }) => startedAtUs / 1_000));
  const endedMs = Math.max(...uses.map(({ startedAtUs, heldMs: ownMs }) => startedAtUs / 1_000 + ownMs));
  return { utilization: heldMs / (limit * (endedMs - beganMs)), meanHeldMs: heldMs / uses.length };
}
