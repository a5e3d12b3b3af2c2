// A BullMQ program whose jobs end their process in the way that their data names, at their first start only:
// the next run can end the job.
import { createRequire } from 'node:module';

// an import of a CommonJS package costs twice the CPU time, and tests start hundreds of these
const { Worker } = createRequire(import.meta.url)('bullmq');

const { QUEUE_NAME, QUEUE_REDIS_PORT, APP_CONCURRENCY = '1' } = process.env;

const WAYS = {
  /** Memory of the kernel's, not of V8's. */
  hog: () => {
    const held = [];
    setInterval(() => held.push(Buffer.alloc(16 * 1024 * 1024, 1)), 5);
  },
  heap: () => {
    const held = [];
    for (;;) held.push(new Array(1_000).fill(held.length));
  },
  throws: () =>
    setImmediate(function breakDown() {
      throw new TypeError('broken by its job');
    }),
  exits: ({ code }) => process.exit(code),
  aborts: () => process.abort(),
  spins: () => {
    for (;;);
  },
  waits: () => {},
};

async function run(job) {
  console.log(`runs ${job.id}`);
  const { way, says, ms = 0 } = job.data;
  if (way && job.attemptsStarted <= 1) {
    if (says) console.error(says);
    WAYS[way](job.data);
    await new Promise(() => setInterval(() => {}, 1_000));
  }
  await new Promise((resolve) => setTimeout(resolve, ms));
  return { starts: job.attemptsStarted };
}

const worker = new Worker(QUEUE_NAME, run, {
  connection: { host: '127.0.0.1', port: Number(QUEUE_REDIS_PORT), retryStrategy: () => 200 },
  concurrency: Number(APP_CONCURRENCY),
});
worker.on('error', () => {});
