// A BullMQ program with a Worker of its own, whose jobs take a place in a limiter as their data says.

import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import { Limiter } from 'bullmq-swarm/limiter';

// an import of a CommonJS package costs twice the CPU time, and tests start hundreds of these
const { Worker } = createRequire(import.meta.url)('bullmq');

const { QUEUE_NAME, QUEUE_REDIS_PORT } = process.env;
const worker = new Worker(
  QUEUE_NAME,
  async (job) => {
    console.log(`runs ${job.id}`);
    const limiter = Limiter.concurrent(job.data.limiter, 1, { waitTimeoutMs: 60_000 });
    return limiter.withinLimit(async () => {
      console.log(`within ${job.id}`);
      await sleep(job.data.ms);
    });
  },
  { connection: { host: '127.0.0.1', port: Number(QUEUE_REDIS_PORT) } },
);
worker.on('error', () => {});
