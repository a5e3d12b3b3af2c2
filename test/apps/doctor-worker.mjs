// A program whose jobs block, die or wait, as their data says; locks last as long as a test wants.
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'bullmq';

const { QUEUE_REDIS_PORT, QUEUE_NAME, APP_LOCK_MS, APP_PREFIX = 'bull' } = process.env;

async function run(job) {
  const { ms = 0, block = 0, exit, fill = 0 } = job.data;
  globalThis.kept = Array.from({ length: fill }, (_, at) => ({ at, text: `object ${at}` }));
  const untilMs = Date.now() + block;
  while (Date.now() < untilMs);
  if (exit !== undefined) process.exit(exit);
  await sleep(ms);
}

const worker = new Worker(QUEUE_NAME, run, {
  connection: { host: '127.0.0.1', port: Number(QUEUE_REDIS_PORT) },
  prefix: APP_PREFIX,
  ...(APP_LOCK_MS ? { lockDuration: Number(APP_LOCK_MS) } : {}),
});
worker.on('error', (error) => console.error(error.message));
