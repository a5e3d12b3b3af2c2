import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Job, Queue } from 'bullmq';
import { Redis } from 'ioredis';
import type { BullModule } from '../dist/child/bullmq.js';
import { missingForAlone } from '../dist/fetch/alone-worker.js';
import type { Consumer } from '../dist/fetch/consumer.js';
import { MultiConsumer } from '../dist/fetch/multi-consumer.js';
import { missingForQueueWorkers } from '../dist/fetch/queue-worker.js';
import { StockConsumer } from '../dist/fetch/stock-consumer.js';
import type { JobRef } from '../dist/protocol.js';
import { wake } from '../dist/recovery/move-job.js';
import { BULLMQ_RELEASES, type BullmqRelease } from './bullmq-releases.js';
import { redisOfSuite, type TestRedis, until } from './redis-server.js';

const cases = BULLMQ_RELEASES.flatMap((bull) =>
  (['stock', 'multi'] as const).map((kind) => ({ bull, kind })),
);

for (const { bull, kind } of cases) {
  describe(`suspects in the ${kind} consumer with bullmq ${bull.version}`, () => {
    const own = redisOfSuite();
    const scene = (t: TestContext, queueCount = 2) =>
      openScene(t, bull, kind, own.redis, own.client, queueCount);

    it('finds what it needs there', () => {
      assert.equal(missingForAlone(bull.module as unknown as BullModule), null);
      assert.equal(missingForQueueWorkers(bull.module as unknown as BullModule), null);
    });

    it('runs jobs with blame alone, whatever comes, and all others beside each other', async (t) => {
      const { queues, add, consumer, runs } = scene(t, 3);
      const kinds = Array.from({ length: 90 }, (_, at) => (at % 10 === 7 ? 'suspect' : 'plain'));
      for (const [at, kind] of kinds.entries()) {
        await add(queues[at % 3] as Queue, kind === 'suspect', { ms: (at * 7) % 25 });
      }
      const { start } = consumer();
      await start();
      await until(
        () => runs.ended === kinds.length,
        `all jobs end (${runs.ended} of ${kinds.length})`,
        30_000,
      );
      assert.deepEqual(runs.overlaps, []);
      assert.equal(runs.suspects, 9);
      const isEnough = kind === 'multi' ? runs.peak === 5 : runs.peak > 5;
      assert.ok(isEnough, `at most ${runs.peak} ran beside each other`);
    });

    it('knows of blame also when the end of one job fetches the next', async (t) => {
      const { queues, add, consumer, runs } = scene(t, 1);
      const queue = queues[0] as Queue;
      for (let at = 0; at < 20; at += 1) await add(queue, at % 2 === 1, { ms: 1, fail: at % 4 === 0 });
      await consumer({ concurrency: 1 }).start();
      await until(() => runs.ended === 20, 'all jobs end', 20_000);
      assert.equal(runs.suspects, 10);
      assert.deepEqual(runs.overlaps, []);
    });

    it('says who waits, before it begins what it waited for', async (t) => {
      const { queues, add, consumer, waiting, gates, runs } = scene(t);
      const [first, second] = queues as [Queue, Queue];
      await add(first, false, { gate: 'plain' });
      await consumer().start();
      await until(() => runs.running.size === 1, 'the first job runs', 5_000);
      const suspect = await add(second, true, { gate: 'suspect' });
      await until(() => waiting.length === 1, 'it waits', 5_000);
      assert.deepEqual(waiting, [[{ queue: second.name, id: suspect }]]);
      assert.equal(runs.suspects, 0);
      gates.add('plain');
      await until(() => runs.suspects === 1, 'it runs', 5_000);
      assert.deepEqual(waiting.at(-1), []);
      gates.add('suspect');
      await until(() => runs.ended === 2, 'both end', 5_000);
    });

    it('fetches nothing while a suspect runs, and leaves it to others to hear of jobs', async (t) => {
      const { queues, add, consumer, gates, runs } = scene(t);
      const [first, second] = queues as [Queue, Queue];
      await consumer({ name: 'a' }).start();
      await add(first, true, { gate: 'suspect' });
      await until(() => runs.suspects === 1, 'the suspect runs', 5_000);
      await consumer({ name: 'b' }).start();
      // whichever of the two idle Workers of a queue is woken, the one that may fetch gets them
      for (let at = 0; at < 10; at += 1) {
        await add(at % 2 ? first : second, false, {});
        const addedAtMs = performance.now();
        await until(() => runs.ended === at + 1, 'the other runs it', 3_000);
        const tookMs = performance.now() - addedAtMs;
        assert.ok(tookMs < 2_000, `started after ${Math.round(tookMs)} ms`);
      }
      assert.deepEqual(runs.by, { a: 1, b: 10 });
      gates.add('suspect');
      await until(() => runs.ended === 11, 'the suspect ends', 5_000);
      await add(second, false, {});
      await until(() => runs.ended === 12, 'and fetching goes on', 8_000);
    });

    it('puts a suspect back that still waits when it is told to take no jobs', async (t) => {
      const { queues, add, consumer, gates, runs, waiting } = scene(t);
      const [first, second] = queues as [Queue, Queue];
      const plain = await add(first, false, { gate: 'plain' });
      const { start, stop } = consumer();
      await start();
      await until(() => runs.running.size === 1, 'the first job runs', 5_000);
      const suspect = await add(second, true, {});
      await until(() => waiting.length === 1, 'it waits', 5_000);
      const stopped = stop();
      gates.add('plain');
      await stopped;
      assert.equal(runs.suspects, 0);
      assert.equal(await first.getJobState(plain), 'completed');
      assert.equal(await second.getJobState(suspect), 'waiting');
      assert.equal((await second.getJob(suspect))?.attemptsMade, 0);
    });

    it('stops while a suspect runs and fetches wait', async (t) => {
      const { queues, add, consumer, gates, runs } = scene(t, 4);
      const { start, stop } = consumer();
      await start();
      await add(queues[0] as Queue, true, { gate: 'suspect' });
      await until(() => runs.suspects === 1, 'the suspect runs', 5_000);
      const others = await Promise.all(queues.map((queue) => add(queue, false, {})));
      const stopped = stop();
      gates.add('suspect');
      await stopped;
      const states = await Promise.all(queues.map((queue, at) => queue.getJobState(others[at] as string)));
      assert.deepEqual(states, ['waiting', 'waiting', 'waiting', 'waiting']);
    });
  });
}

interface Data {
  ms?: number;
  /** Ends when this gate is open. */
  gate?: string;
  fail?: boolean;
  suspect?: boolean;
}

/** What ran when, over all consumers of a scene. */
class Runs {
  ended = 0;
  suspects = 0;
  peak = 0;
  readonly overlaps: string[] = [];
  readonly by: Record<string, number> = {};
  readonly running = new Map<Job, string>();

  async run(consumer: string, job: Job<Data>, gates: ReadonlySet<string>): Promise<void> {
    const { suspect, gate, ms = 0, fail } = job.data;
    const beside = [...this.running]
      .filter(([, other]) => other === consumer)
      .map(([other]) => other as Job<Data>);
    if (beside.length > 0 && (suspect || beside.some(({ data }) => data.suspect))) {
      this.overlaps.push(
        `${job.queueName}/${job.id} beside ${beside.map(({ queueName, id }) => `${queueName}/${id}`)}`,
      );
    }
    this.running.set(job, consumer);
    this.by[consumer] = (this.by[consumer] ?? 0) + 1;
    this.peak = Math.max(this.peak, this.running.size);
    if (suspect) this.suspects += 1;
    await sleep(ms);
    while (gate && !gates.has(gate) && !gates.has('every')) await sleep(5);
    this.running.delete(job);
    this.ended += 1;
    if (fail) throw new Error('failed by itself');
  }
}

function openScene(
  t: TestContext,
  { module }: BullmqRelease,
  kind: 'stock' | 'multi',
  { port }: TestRedis,
  client: Redis,
  queueCount: number,
) {
  const connection = { host: '127.0.0.1', port };
  const queues: Queue[] = Array.from({ length: queueCount }, () => {
    const queue = new module.Queue(`q${randomBytes(4).toString('hex')}`, { connection });
    t.after(() => queue.close());
    return queue;
  });
  const runs = new Runs();
  const gates = new Set<string>();
  // a test that fails leaves nothing that waits
  t.after(() => gates.add('every'));
  const waiting: (readonly JobRef[])[] = [];
  return {
    queues,
    runs,
    gates,
    waiting,
    /** A job; a suspect has blame, and has it before it can be fetched. */
    add: async (queue: Queue, suspect: boolean, data: Data): Promise<string> => {
      const id = `${suspect ? 'suspect' : 'plain'}-${randomBytes(4).toString('hex')}`;
      if (suspect) {
        await queue.add('job', { ...data, suspect }, { jobId: id, delay: 3_600_000 });
        await client.hset(queue.toKey(id), { swarmShared: '1' });
        await (await queue.getJob(id))?.promote();
      } else await queue.add('job', { ...data, suspect }, { jobId: id });
      return id;
    },
    consumer: ({ name = 'a', concurrency = 5 } = {}) => {
      const connect = (): Redis => new Redis({ port, maxRetriesPerRequest: null });
      const common = {
        bullmq: module as unknown as BullModule,
        prefix: 'bull',
        concurrency,
        queues: queues.map((queue) => ({
          name: queue.name,
          process: (job: Job) => runs.run(name, job, gates),
          weight: null,
          maxActive: null,
          gate: null,
          nameGates: new Map(),
          worker: {},
        })),
        abortSignalOf: () => new AbortController().signal,
        onWaiting: (jobs: readonly JobRef[]) => void waiting.push(jobs),
        wake,
      };
      const consumer: Consumer =
        kind === 'stock'
          ? new StockConsumer({ ...common, connection: connect() })
          : new MultiConsumer({
              ...common,
              client: connect(),
              blocking: connect(),
              abort: () => false,
              onWorker: () => {},
            });
      let stopped: Promise<void> | null = null;
      const stop = (): Promise<void> => {
        stopped ??= consumer.close(false);
        return stopped;
      };
      t.after(stop);
      return { start: () => consumer.start(), stop };
    },
  };
}
