// A plain BullMQ program whose job says where it runs, and at its first start never ends.
import { Worker } from 'bullmq';
import { Redis } from 'ioredis';

const connection = { host: '127.0.0.1', port: Number(process.env.QUEUE_REDIS_PORT) };
const redis = new Redis(connection);

const worker = new Worker(
  process.env.QUEUE ?? 'bench',
  async (job) => {
    await redis.publish('started', JSON.stringify({ queue: job.queueName, id: job.id, pid: process.pid }));
    if (job.attemptsStarted === 1) await new Promise((resolve) => setTimeout(resolve, 600_000));
  },
  { connection },
);
worker.on('error', (error) => console.error(error.message));
process.on('SIGTERM', async () => {
  await worker.close();
  process.exit(0);
});
await worker.waitUntilReady();
console.log('ready');
