/** What BullMQ does for a Worker, it does for a child's queues as well. */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Job } from 'bullmq';
import { BULLMQ_RELEASES } from './bullmq-releases.js';
import { openScene } from './consumer-scene.js';
import { startRedis, type TestRedis, until } from './redis-server.js';

for (const bull of BULLMQ_RELEASES) {
  describe(`BullMQ ${bull.version} in the consumer of a child`, () => {
    let redis: TestRedis;
    before(async () => {
      redis = await startRedis();
    });
    after(() => redis.stop());
    const scene = (t: TestContext, count = 1) => openScene(t, bull, redis.port, count);

    it('retries with backoff, at once, and by a strategy of the app', async (t) => {
      const { queue, consume } = scene(t);
      const runs: Record<string, number[]> = {};
      const backoffStrategy = (attemptsMade: number) => attemptsMade * 100;
      await consume(
        (job) => {
          const times = runs[job.name] ?? [];
          runs[job.name] = times;
          times.push(performance.now());
          if (times.length < 3) throw new Error(`attempt ${times.length}`);
        },
        { worker: { settings: { backoffStrategy } } },
      );
      const jobs = [
        await queue(0).add('at once', {}, { attempts: 3 }),
        await queue(0).add('fixed', {}, { attempts: 3, backoff: { type: 'fixed', delay: 50 } }),
        await queue(0).add('own', {}, { attempts: 3, backoff: { type: 'custom' } }),
      ];
      await until(async () => (await queue(0).getCompletedCount()) === 3, 'all succeed', 20_000);
      for (const { name } of jobs) assert.equal(runs[name]?.length, 3);
      const [first = 0, second = 0, third = 0] = runs['own'] ?? [];
      assert.ok(second - first >= 95 && third - second >= 190, `${second - first}, ${third - second} ms`);
      assert.equal((await queue(0).getJob(jobs[0]?.id as string))?.attemptsMade, 3);
    });

    it('fails for good when attempts are used up, or the error is unrecoverable', async (t) => {
      const { queue, consume } = scene(t);
      await consume((job) => {
        const error = new Error('no');
        if (job.name === 'hopeless') error.name = 'UnrecoverableError';
        throw error;
      });
      const tried = await queue(0).add('tried', {}, { attempts: 2 });
      const hopeless = await queue(0).add('hopeless', {}, { attempts: 9 });
      await until(async () => (await queue(0).getFailedCount()) === 2, 'both fail', 10_000);
      assert.equal((await queue(0).getJob(tried.id as string))?.attemptsMade, 2);
      assert.equal((await queue(0).getJob(hopeless.id as string))?.attemptsMade, 1);
    });

    it('runs flows over several queues, children before their parent', async (t) => {
      const { queue, consume } = scene(t, 2);
      const order: string[] = [];
      await consume(async (job) => {
        order.push(job.name);
        return job.name === 'parent' ? Object.values(await job.getChildrenValues()).sort() : job.name;
      });
      const flows = new bull.module.FlowProducer({ connection: { port: redis.port } });
      t.after(() => flows.close());
      const tree = await flows.add({
        name: 'parent',
        queueName: queue(0).name,
        children: ['a', 'b', 'c'].map((name) => ({ name, queueName: queue(1).name })),
      });
      await until(async () => tree.job.isCompleted(), 'the parent is done', 10_000);
      assert.equal(order.at(-1), 'parent');
      const parent = await queue(0).getJob(tree.job.id as string);
      assert.deepEqual(parent?.returnvalue, ['a', 'b', 'c']);
    });

    it('lets a job wait for children that it adds', async (t) => {
      const { queue, consume } = scene(t, 2);
      await consume(async (job) => {
        if (job.queueName !== queue(0).name || job.data.waited) return;
        await job.updateData({ waited: true });
        const parent = { id: job.id as string, queue: job.queueQualifiedName };
        await queue(1).add('child', {}, { parent });
        if (await job.moveToWaitingChildren(job.token as string)) {
          throw new bull.module.WaitingChildrenError();
        }
      });
      const parent = await queue(0).add('parent', {});
      await until(async () => parent.isCompleted(), 'the parent is done', 10_000);
    });

    it('runs jobs by priority', async (t) => {
      const { queue, consume } = scene(t);
      const order: unknown[] = [];
      for (const priority of [5, 1, 3, 2, 4]) await queue(0).add('job', priority, { priority });
      await queue(0).add('job', 0);
      await consume((job) => void order.push(job.data), { concurrency: 1 });
      await until(() => order.length === 6, 'all run', 10_000);
      assert.deepEqual(order, [0, 1, 2, 3, 4, 5]);
    });

    it('hears of a prioritized job while it is idle', async (t) => {
      const { queue, consume } = scene(t);
      let ran = 0;
      const { client } = await consume(() => void ran++);
      await until(
        async () => / cmd=bzpopmin /.test(String(await client.client('LIST'))),
        'it waits for jobs',
        5_000,
      );
      await queue(0).add('job', {}, { priority: 7 });
      // who hears nothing looks after 5 s
      await until(() => ran === 1, 'it runs', 4_000);
    });

    it('starts delayed jobs when they are due', async (t) => {
      const { queue, consume } = scene(t);
      const lateMs: number[] = [];
      await consume((job) => void lateMs.push(Date.now() - job.timestamp - (job.opts.delay ?? 0)));
      for (const delay of [900, 300, 600]) await queue(0).add('job', {}, { delay });
      await until(() => lateMs.length === 3, 'all run', 10_000);
      assert.ok(
        lateMs.every((ms) => ms >= 0 && ms < 2_000),
        `late by ${lateMs} ms`,
      );
    });

    it('delays a job that moved itself, and goes on', async (t) => {
      const { queue, consume } = scene(t);
      const runs: string[] = [];
      await consume(
        async (job) => {
          runs.push(job.name);
          if (job.name !== 'later' || runs.filter((name) => name === 'later').length > 1) return;
          await job.moveToDelayed(Date.now() + 200, job.token);
          throw new bull.module.DelayedError();
        },
        { concurrency: 1 },
      );
      const later = await queue(0).add('later', {});
      await queue(0).add('next', {});
      await until(() => runs.length === 3, 'all run', 10_000);
      assert.deepEqual(runs, ['later', 'next', 'later']);
      await until(async () => later.isCompleted(), 'it completes', 5_000);
      assert.equal((await queue(0).getJob(later.id as string))?.attemptsMade, 1);
    });

    it('keeps the rate limit of a Worker’s options', async (t) => {
      const { queue, consume } = scene(t);
      const starts: number[] = [];
      await consume(() => void starts.push(performance.now()), {
        worker: { limiter: { max: 3, duration: 400 } },
      });
      // not from the first start, which may be seen long after Redis counted it
      const addedAtMs = performance.now();
      await queue(0).addBulk(Array.from({ length: 9 }, () => ({ name: 'job', data: {} })));
      await until(() => starts.length === 9, 'all run', 15_000);
      const tookMs = (starts[8] ?? 0) - addedAtMs;
      assert.ok(tookMs > 700, `nine jobs, three in 400 ms: took ${tookMs} ms`);
    });

    it('puts a job back that rate limits its queue, and goes on when that is over', async (t) => {
      const { queue, consume } = scene(t);
      const starts: number[] = [];
      const { workers } = await consume(
        async () => {
          starts.push(performance.now());
          if (starts.length > 1) return;
          const [worker] = workers as unknown as { rateLimit(ms: number): Promise<void> }[];
          await worker?.rateLimit(300);
          throw bull.module.Worker.RateLimitError();
        },
        { worker: { limiter: { max: 1_000, duration: 10 } } },
      );
      const job = await queue(0).add('job', {});
      await until(async () => job.isCompleted(), 'it completes', 10_000);
      assert.equal(starts.length, 2);
      const waitedMs = (starts[1] ?? 0) - (starts[0] ?? 0);
      assert.ok(waitedMs > 200, `waited ${waitedMs} ms`);
      assert.equal((await queue(0).getJob(job.id as string))?.attemptsMade, 1);
    });

    it('keeps a global concurrency over several consumers, and loses no turn', async (t) => {
      const { queue, queues, consume } = scene(t, 2);
      if (!('setGlobalConcurrency' in queue(0))) return;
      await queue(0).setGlobalConcurrency(2);
      let running = 0;
      let peak = 0;
      let ended = 0;
      const run = async (job: Job): Promise<void> => {
        if (job.queueName === queue(0).name) {
          running += 1;
          peak = Math.max(peak, running);
          await sleep(15);
          running -= 1;
        }
        ended += 1;
      };
      await Promise.all([consume(run, { weights: [1, 1] }), consume(run)]);
      await queues[0]?.addBulk(Array.from({ length: 20 }, () => ({ name: 'job', data: {} })));
      await queues[1]?.addBulk(Array.from({ length: 20 }, () => ({ name: 'job', data: {} })));
      // without a wait for somebody's timeout: 10 rounds of 15 ms
      await until(() => ended === 40, 'all end', 4_500);
      assert.equal(peak, 2);
    });

    it('takes nothing from a paused queue, and goes on with it when it is resumed', async (t) => {
      const { queue, consume } = scene(t, 2);
      const ran: string[] = [];
      await consume((job) => void ran.push(job.queueName));
      await queue(0).pause();
      await queue(0).add('job', {});
      await queue(1).add('job', {});
      await until(() => ran.length === 1, 'the other one runs', 5_000);
      // whoever fetches this one could have fetched that of the paused queue
      await queue(1).add('job', {});
      await until(() => ran.length === 2, 'the other one runs again', 5_000);
      assert.deepEqual(ran, [queue(1).name, queue(1).name]);
      await queue(0).resume();
      await until(() => ran.length === 3, 'it runs', 4_000);
    });

    it('runs job schedulers', async (t) => {
      const { queue, consume } = scene(t);
      const ran: number[] = [];
      await consume(() => void ran.push(performance.now()));
      await queue(0).upsertJobScheduler('each', { every: 150 }, { name: 'tick' });
      await until(() => ran.length >= 4, 'it has run four times', 10_000);
      await queue(0).removeJobScheduler('each');
    });

    it('emits events, and counts metrics', async (t) => {
      const { queue, events, consume } = scene(t);
      const seen: string[] = [];
      const heard = await events(0);
      for (const name of ['active', 'completed', 'failed', 'progress'] as const) {
        heard.on(name, () => void seen.push(name));
      }
      await consume(
        async (job) => {
          await job.updateProgress(50);
          if (job.name === 'bad') throw new Error('no');
          return 7;
        },
        { worker: { metrics: { maxDataPoints: 60 } } },
      );
      const good = await queue(0).add('good', {});
      assert.equal(await good.waitUntilFinished(heard, 5_000), 7);
      await queue(0).add('bad', {});
      await until(() => seen.includes('failed'), 'it failed', 5_000);
      await until(() => seen.filter((name) => name === 'active').length === 2, 'both were active', 5_000);
      assert.deepEqual([...new Set(seen)].sort(), ['active', 'completed', 'failed', 'progress']);
      assert.equal((await queue(0).getMetrics('completed')).meta.count, 1);
    });

    it('traces jobs with the telemetry of the app', async (t) => {
      const { queue, consume } = scene(t);
      const spans: string[] = [];
      await consume(() => {}, { worker: { telemetry: telemetryInto(spans) } });
      const job = await queue(0).add('job', {});
      await until(async () => job.isCompleted(), 'it completes', 5_000);
      await until(() => spans.some((name) => name.startsWith('process ')), 'its run was traced', 5_000);
    });

    it('cancels a job, and no other', async (t) => {
      const { queue, consume } = scene(t);
      const reasons: unknown[] = [];
      const { workers, running } = await consume(async (_, { signal }) => {
        await new Promise<void>((resolve) => {
          signal.addEventListener('abort', () => resolve(), { once: true });
        });
        reasons.push(signal.reason);
        throw new Error(`cancelled: ${signal.reason}`);
      });
      const [first, second] = [await queue(0).add('a', {}), await queue(0).add('b', {})];
      await until(() => running.size === 2, 'both run', 5_000);
      const [worker] = workers as unknown as { cancelJob(id: string, reason?: string): boolean }[];
      assert.equal(worker?.cancelJob(first.id as string, 'changed my mind'), true);
      await until(async () => first.isFailed(), 'it failed', 5_000);
      assert.deepEqual(reasons, ['changed my mind']);
      assert.equal(running.size, 1);
      worker?.cancelJob(second.id as string, 'this one too');
      await until(async () => second.isFailed(), 'it failed too', 5_000);
    });

    it('renews locks while jobs run', async (t) => {
      const { queue, consume } = scene(t);
      let runs = 0;
      // renewed each second: this process may stand still for some tenths of one
      const worker = { lockDuration: 2_000, stalledInterval: 500 };
      const run = async (): Promise<void> => {
        runs += 1;
        // well over two locks
        await sleep(5_000);
      };
      await consume(run, { worker });
      await consume(run, { worker });
      const job = await queue(0).add('long', {});
      await until(async () => job.isCompleted(), 'it completes', 30_000);
      assert.equal(runs, 1);
    });

    it('takes back jobs that somebody else left stalled', async (t) => {
      const { queue, consume } = scene(t);
      const job = await queue(0).add('left', {});
      const Worker = bull.module.Worker;
      const dead = new Worker(queue(0).name, async () => {}, {
        connection: { port: redis.port },
        lockDuration: 300,
        stalledInterval: 200,
        autorun: false,
      });
      assert.equal((await dead.getNextJob('somebody'))?.id, job.id);
      await dead.close(true);
      await consume(() => {}, { worker: { stalledInterval: 200 } });
      await until(async () => job.isCompleted(), 'it completes', 10_000);
    });
  });
}

/** As much of an OpenTelemetry adapter as BullMQ calls. */
function telemetryInto(spans: string[]): object {
  const span = {
    setSpanOnContext: (context: unknown) => context,
    setAttribute: () => {},
    setAttributes: () => {},
    addEvent: () => {},
    recordException: () => {},
    end: () => {},
  };
  return {
    tracer: {
      startSpan: (name: string) => {
        spans.push(name);
        return span;
      },
    },
    contextManager: {
      with: (_: unknown, run: () => unknown) => run(),
      active: () => ({}),
      getMetadata: () => '',
      fromMetadata: () => ({}),
    },
  };
}
