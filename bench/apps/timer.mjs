// A plain BullMQ program that knows nothing of swarm. Its jobs do nothing, or wait for a moment.
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'bullmq';

const worker = new Worker(
  process.env.QUEUE ?? 'bench',
  async ({ data }) => {
    if (data.ms > 0) await delay(data.ms);
  },
  {
    connection: { host: '127.0.0.1', port: Number(process.env.QUEUE_REDIS_PORT) },
    concurrency: 10,
    removeOnComplete: { count: 0 },
  },
);
worker.on('error', (error) => console.error(error.message));
process.on('SIGTERM', async () => {
  await worker.close();
  process.exit(0);
});
await worker.waitUntilReady();
if (globalThis.gc) {
  // after its first full collection V8 promotes much of what BullMQ makes for a job, and goes on to: a job
  // costs about a tenth more. Every program gets there; when is luck that has no place in a comparison
  await delay(100);
  globalThis.gc();
}
console.log('ready');
