// Plain BullMQ: a Worker a queue, with the defaults of BullMQ but for the concurrency, and for what is kept of completed jobs.
import { Worker } from 'bullmq';
import { work } from './fetch-work.mjs';

const connection = { host: '127.0.0.1', port: Number(process.env.QUEUE_REDIS_PORT) };
const concurrency = Number(process.env.CONCURRENCY);
const workers = process.env.QUEUES.split(',').map(
  (queue) => new Worker(queue, work, { connection, concurrency, removeOnComplete: { count: 10_000 } }),
);
for (const worker of workers) worker.on('error', (error) => console.error(error.message));
process.on('SIGTERM', async () => {
  await Promise.all(workers.map((worker) => worker.close()));
  process.exit(0);
});
await Promise.all(workers.map((worker) => worker.waitUntilReady()));
globalThis.gc?.();
console.log('ready');
