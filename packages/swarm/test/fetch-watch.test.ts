import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { Queue, WorkerOptions } from 'bullmq';
import type { BullWorker } from '../dist/child/bullmq.js';
import { FetchWatch } from '../dist/child/fetch-watch.js';
import { readQueueLoad } from '../dist/child/queue-load.js';
import { Workers } from '../dist/child/workers.js';
import { LOOK_MS } from '../dist/fetch/hunger.js';
import type { NotConsuming } from '../dist/protocol.js';
import { BULLMQ_RELEASES, type BullmqRelease } from './bullmq-releases.js';
import { startRedis, type TestRedis } from './redis-server.js';

for (const bull of BULLMQ_RELEASES) {
  describe(`watching fetchers of bullmq ${bull.version}`, () => {
    let redis: TestRedis;
    before(async () => {
      redis = await startRedis();
    });
    after(() => redis.stop());
    const scene = (t: TestContext, options: Partial<WorkerOptions> = {}) =>
      openScene(t, bull, redis, options);

    it('tells of one that begins nothing although jobs wait, with the state of its fetcher', async (t) => {
      const { queue, looks } = scene(t);
      await queue.addBulk([
        { name: 'job', data: {} },
        { name: 'job', data: {}, opts: { priority: 2 } },
      ]);
      const [alarm, ...more] = await looks(5);
      assert.deepEqual(more, []);
      assert.deepEqual([alarm?.queue, alarm?.waiting, alarm?.forMs], [queue.name, 2, 3 * LOOK_MS]);
      assert.match(
        alarm?.state ?? '',
        /^running 0 of 1, begun 1, main loop has ended, .* connection ready \(0 unanswered/,
      );
    });

    it('tells of nobody who has nothing to do, or delayed jobs alone', async (t) => {
      const { queue, looks } = scene(t);
      await queue.add('job', {}, { delay: 600_000 });
      assert.deepEqual(await looks(8), []);
    });

    it('tells of nobody whose queue is paused, until it resumes', async (t) => {
      const { queue, looks } = scene(t);
      await queue.add('job', {});
      await queue.pause();
      assert.deepEqual(await looks(8), []);
      await queue.resume();
      assert.equal((await looks(5)).length, 1);
    });

    it('tells of nobody whose queue is at its global concurrency', async (t) => {
      const { queue, looks, fetchByHand, worker } = scene(t);
      await queue.setGlobalConcurrency(1);
      await queue.addBulk([
        { name: 'job', data: {} },
        { name: 'job', data: {} },
      ]);
      const job = await fetchByHand();
      assert.deepEqual(await looks(8), []);
      assert.deepEqual(await readQueueLoad(worker), { waiting: 1, active: 1, isHeldUp: true });
      await job?.moveToFailed(new Error('ended'), 'other:1', false);
      assert.equal((await readQueueLoad(worker))?.isHeldUp, false);
    });

    it('tells of nobody whose queue is rate-limited, whoever has limited it', async (t) => {
      const limiter = { max: 2, duration: 600_000 };
      const limited = scene(t, { limiter });
      await limited.queue.addBulk(Array.from({ length: 4 }, () => ({ name: 'job', data: {} })));
      await limited.fetchByHand();
      assert.equal((await readQueueLoad(limited.worker))?.isHeldUp, false, 'one is left');
      await limited.fetchByHand();
      assert.deepEqual(await limited.looks(8), []);

      const byHand = scene(t);
      await byHand.queue.add('job', {});
      await byHand.queue.rateLimit(600_000);
      assert.deepEqual(await byHand.looks(8), []);
    });

    it('tells of nobody who is paused, quiet, full, in trouble, or held up by its consumer', async (t) => {
      const { queue, looks, worker, workers, consumer } = scene(t);
      await queue.add('job', {});
      consumer.heldUp = 'a limit has no room';
      assert.deepEqual(await looks(8), []);
      consumer.heldUp = null;

      workers.logOf(worker).begin({ name: 'job' } as never, Date.now(), performance.now());
      assert.deepEqual(await looks(8), []);
      workers.logOf(worker).end(1, performance.now());

      worker.on('error', () => {});
      assert.deepEqual(await looks(8, () => worker.emit('error', new Error('READONLY'))), []);

      workers.quiet();
      assert.deepEqual(await looks(8), []);
      await workers.resume();
      await worker.pause(true);
      assert.deepEqual(await looks(8), []);
    });

    it('says that Redis does not answer, and takes a late answer for nothing', async (t) => {
      const { queue, looks } = scene(t);
      await queue.add('job', {});
      await looks(1);
      redis.signal('SIGSTOP');
      const alarms = await looks(5, () => {}, { answers: false });
      redis.signal('SIGCONT');
      assert.deepEqual(
        alarms.map(({ waiting }) => waiting),
        [null],
      );
      await queue.getWaitingCount();
      assert.deepEqual(await looks(3), []);
    });

    it('leaves those alone that fetch by hand', async (t) => {
      const { queue, looks } = scene(t, {});
      const { looks: looksAtNew } = openScene(t, bull, redis, {}, { hasBegun: false, name: queue.name });
      await queue.add('job', {});
      assert.deepEqual(await looksAtNew(8), []);
      assert.equal((await looks(5)).length, 1);
    });
  });
}

function openScene(
  t: TestContext,
  { module }: BullmqRelease,
  redis: TestRedis,
  options: Partial<WorkerOptions>,
  { hasBegun = true, name = `q${randomBytes(4).toString('hex')}` } = {},
) {
  const connection = { host: '127.0.0.1', port: redis.port };
  const queue: Queue = new module.Queue(name, { connection });
  const made = new module.Worker(name, async () => {}, { ...options, connection, autorun: false });
  t.after(() => Promise.all([made.close(), queue.close()]));
  const worker = made as unknown as BullWorker;
  const workers = new Workers(null, {
    onStarted: () => {},
    onEnded: () => {},
    onStaleEnd: () => {},
    onOpenEnd: () => {},
    onTrouble: () => {},
  });
  workers.add(worker);
  if (hasBegun) {
    // a job of before, which makes it one that is fetched for
    workers
      .logOf(worker)
      .begin({ name: 'job', timestamp: Date.now() } as never, Date.now(), performance.now());
    workers.logOf(worker).end(1, performance.now());
  }
  const consumer: { heldUp: string | null } = { heldUp: null };
  const alarms: NotConsuming[] = [];
  const watch = new FetchWatch({
    workers,
    heldUp: () => consumer.heldUp,
    onAlarm: (alarm) => alarms.push(alarm),
  });
  let atMs = 0;
  return {
    queue,
    worker,
    workers,
    consumer,
    fetchByHand: () => made.getNextJob('other:1', { block: false }),
    /** So many looks, 10 s of a clock of ours apart; the alarms of these. */
    looks: async (
      count: number,
      before: () => unknown = () => {},
      { answers = true } = {},
    ): Promise<NotConsuming[]> => {
      await made.waitUntilReady();
      alarms.length = 0;
      for (let at = 0; at < count; at++) {
        before();
        atMs += LOOK_MS;
        watch.look(atMs);
        // over the same connection, so the question of this look is answered before it
        if (answers) await readQueueLoad(worker);
        await turn();
      }
      return [...alarms];
    },
  };
}
