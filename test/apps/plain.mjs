// A plain BullMQ program, as people write them; what a job does is in its data.
import { spawn } from 'node:child_process';
import { Worker } from 'bullmq';

const connection = { host: '127.0.0.1', port: Number(process.env.QUEUE_REDIS_PORT) };
const concurrency = Number(process.env.APP_CONCURRENCY ?? 1);
const prefix = process.env.APP_PREFIX ?? 'bull';

async function run(job) {
  const { ms = 0, crash, spin, exit, fail, child } = job.data;
  if (child) spawn('sleep', ['600'], { stdio: 'ignore' });
  if (crash)
    process.nextTick(() => {
      throw new Error('crashed by its job');
    });
  if (exit !== undefined) process.exit(exit);
  if (fail) throw new Error('failed by its job');
  if (spin) for (;;);
  await new Promise((resolve) => setTimeout(resolve, ms));
  return { pid: process.pid, slot: process.env.SWARM_SLOT };
}

for (const queue of (process.env.APP_QUEUES ?? 'work').split(',')) {
  const worker = new Worker(queue, run, { connection, concurrency, prefix });
  worker.on('error', (error) => console.error(error.message));
  process.on('SIGTERM', async () => {
    await worker.close();
    console.log('closed by its own handler');
  });
}
