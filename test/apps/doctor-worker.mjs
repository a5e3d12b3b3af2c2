// A program whose jobs block, die or wait, as their data says; locks last as long as a test wants.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';

// an import of a CommonJS package costs twice the CPU time, and tests start hundreds of these
const { Worker } = createRequire(import.meta.url)('bullmq');

const { QUEUE_REDIS_PORT, QUEUE_NAME, APP_LOCK_MS, APP_PREFIX = 'bull' } = process.env;

async function run(job) {
  const { ms = 0, block = 0, exit, fill = 0, numbers = 0, busyUntil } = job.data;
  globalThis.kept = Array.from({ length: fill }, (_, at) => ({ at, text: `object ${at}` }));
  // 8 bytes each, and one node of a snapshot, where objects are many
  globalThis.numbers = Array.from({ length: numbers }, (_, at) => at + 0.5);
  blockFor(block);
  // a path
  while (busyUntil !== undefined && !existsSync(busyUntil)) {
    blockFor(20);
    await sleep(1);
  }
  if (exit !== undefined) process.exit(exit);
  await sleep(ms);
}

function blockFor(ms) {
  const untilMs = Date.now() + ms;
  while (Date.now() < untilMs);
}

const worker = new Worker(QUEUE_NAME, run, {
  connection: { host: '127.0.0.1', port: Number(QUEUE_REDIS_PORT) },
  prefix: APP_PREFIX,
  ...(APP_LOCK_MS ? { lockDuration: Number(APP_LOCK_MS) } : {}),
});
worker.on('error', (error) => console.error(error.message));
