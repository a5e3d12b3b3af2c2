import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import type { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import { type BullWorker, redisIdOfWorker } from '../dist/child/bullmq.js';
import { Workers } from '../dist/child/workers.js';
import { extendLocks } from '../dist/recovery/extend-locks.js';
import { BULLMQ_RELEASES, type BullmqRelease } from './bullmq-releases.js';
import { redisOfSuite, type TestRedis } from './redis-server.js';

const SHORT_MS = 20_000;
const WHOLE_MS = 60_000;

for (const bull of BULLMQ_RELEASES) {
  describe(`extending a sibling's locks with bullmq ${bull.version}`, () => {
    const own = redisOfSuite();
    const scene = (t: TestContext) => openScene(t, bull, own.redis, own.client);

    it('gives those with its tokens their whole time, and no others', async (t) => {
      const { held, leftMs, workers, holding } = scene(t);
      const [mine, alsoMine, theirs] = [
        await held('blocked:0'),
        await held('blocked:1'),
        await held('other:0'),
      ];
      const done = await extendLocks(workers, [holding('blocked:')]);
      assert.deepEqual(done, { extended: 2, unserved: [] });
      for (const id of [mine, alsoMine]) assert.ok((await leftMs(id)) > SHORT_MS, id);
      assert.ok((await leftMs(theirs)) <= SHORT_MS);
    });

    it('brings no lock back that is gone, and none of a job that has ended', async (t) => {
      const { queue, held, leftMs, workers, holding, lockOf } = scene(t);
      const [lost, done] = [await held('blocked:0'), await held('blocked:1')];
      await own.client.del(lockOf(lost));
      await (await queue.getJob(done))?.moveToCompleted('done', 'blocked:1', false);
      assert.deepEqual(await extendLocks(workers, [holding('blocked:')]), { extended: 0, unserved: [] });
      assert.deepEqual([await leftMs(lost), await leftMs(done)], [-2, -2]);
    });

    it('says which queues it does not work for', async (t) => {
      const { workers, holding } = scene(t);
      const elsewhere = { ...holding('blocked:'), queue: 'elsewhere' };
      assert.deepEqual(await extendLocks(workers, [elsewhere]), { extended: 0, unserved: ['elsewhere'] });
    });
  });
}

function openScene(t: TestContext, { module }: BullmqRelease, redis: TestRedis, client: Redis) {
  const connection = { host: '127.0.0.1', port: redis.port };
  const queue: Queue = new module.Queue(`q${randomBytes(4).toString('hex')}`, { connection });
  const worker = new module.Worker(queue.name, async () => {}, { connection, autorun: false });
  const fetcher = new module.Worker(queue.name, null, {
    connection,
    autorun: false,
    lockDuration: SHORT_MS,
  });
  t.after(() => Promise.all([worker.close(), fetcher.close(), queue.close()]));
  const workers = new Workers(null, {
    onStarted: () => {},
    onEnded: () => {},
    onStaleEnd: () => {},
    onOpenEnd: () => {},
    onTrouble: () => {},
  });
  workers.add(worker as unknown as BullWorker);
  const lockOf = (id: string): string => `${queue.toKey(id)}:lock`;
  return {
    queue,
    workers,
    lockOf,
    holding: (tokenPrefix: string) => ({
      queue: queue.name,
      prefix: 'bull',
      redisId: redisIdOfWorker(worker as unknown as BullWorker),
      tokenPrefix,
      durationMs: WHOLE_MS,
    }),
    /** Id of a job that is active under this token. */
    held: async (token: string): Promise<string> => {
      await queue.add('job', {});
      const job = await fetcher.getNextJob(token, { block: false });
      return job?.id as string;
    },
    leftMs: (id: string) => client.pttl(lockOf(id)),
  };
}
