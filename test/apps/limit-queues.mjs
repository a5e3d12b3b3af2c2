// A swarm app with a limit on a queue, one on a job name, and a queue without.
import { setTimeout as sleep } from 'node:timers/promises';
import { defineApp } from 'bullmq-swarm';
import { Limiter } from 'bullmq-swarm/limiter';
import { Redis } from 'ioredis';

const { QUEUE_NAME, QUEUE_REDIS_PORT } = process.env;
const witness = new Redis({ port: Number(QUEUE_REDIS_PORT) });

const work = (what) => async (job) => {
  const atWork = await witness.incr(`${QUEUE_NAME}:${what}:at-work`);
  await witness.eval(
    "if tonumber(ARGV[1]) > tonumber(redis.call('GET', KEYS[1]) or 0) then redis.call('SET', KEYS[1], ARGV[1]) end",
    1,
    `${QUEUE_NAME}:${what}:most`,
    atWork,
  );
  console.log(`runs ${job.queueName}/${job.id}`);
  await sleep(job.data.ms ?? 20);
  await witness.decr(`${QUEUE_NAME}:${what}:at-work`);
};

export default defineApp({
  queues: {
    [`${QUEUE_NAME}-limited`]: {
      process: work('limited'),
      limit: Limiter.concurrent(`${QUEUE_NAME}:limited`, 2),
    },
    [`${QUEUE_NAME}-window`]: {
      process: work('window'),
      limit: Limiter.window(`${QUEUE_NAME}:window`, 5, 500),
    },
    [`${QUEUE_NAME}-named`]: {
      jobs: {
        one: {
          process: work('named'),
          limit: Limiter.concurrent(`${QUEUE_NAME}:named`, 1, { backoffMs: () => 50 }),
        },
        other: work('other'),
      },
    },
    [`${QUEUE_NAME}-free`]: work('free'),
  },
});
