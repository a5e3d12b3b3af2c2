// A BullMQ program whose jobs can make it deaf: no fetch after such a one returns.

import { createRequire } from 'node:module';
import { setTimeout as delay } from 'node:timers/promises';

// an import of a CommonJS package costs twice the CPU time, and tests start hundreds of these
const { Worker } = createRequire(import.meta.url)('bullmq');

const { QUEUE_NAME, QUEUE_REDIS_PORT } = process.env;

async function processor(job) {
  console.log(`runs ${job.id}`);
  if (job.data.deafen) worker.moveToActive = () => new Promise(() => {});
  await delay(job.data.ms ?? 0);
}

const worker = new Worker(QUEUE_NAME, processor, {
  connection: { host: '127.0.0.1', port: Number(QUEUE_REDIS_PORT) },
});
worker.on('error', () => {});
