// A BullMQ program whose jobs do not end at their first start; those that heed it end when they are told to.

import { createRequire } from 'node:module';
import { setTimeout as delay } from 'node:timers/promises';

// an import of a CommonJS package costs twice the CPU time, and tests start hundreds of these
const { Worker } = createRequire(import.meta.url)('bullmq');

const { QUEUE_NAME, QUEUE_REDIS_PORT, APP_CONCURRENCY = '1' } = process.env;

/** BullMQ gives a signal to who takes three arguments. */
async function processor(job, _token, signal) {
  const { hang, heeds, spin, ms = 0 } = job.data;
  console.log(`runs ${job.id}`);
  const isFirst = job.attemptsStarted <= 1;
  if (hang && isFirst) await hangUntil(heeds ? signal : new AbortController().signal);
  if (spin && isFirst) spinForever();
  await delay(ms);
  console.log(`ends ${job.id}`);
}

function hangUntil(signal) {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(new Error(`heeded: ${signal.reason}`)));
  });
}

function spinForever() {
  for (;;);
}

const worker = new Worker(QUEUE_NAME, processor, {
  connection: { host: '127.0.0.1', port: Number(QUEUE_REDIS_PORT) },
  concurrency: Number(APP_CONCURRENCY),
});
worker.on('error', () => {});
worker.on('failed', (job) => console.log(`failed ${job.id}`));
