// A BullMQ program whose jobs can make it deaf: no fetch after such a one returns.
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'bullmq';

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
