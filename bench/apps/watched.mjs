// A plain BullMQ program whose jobs do nothing, compute, await a great deal, or block their loop for a while.
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'bullmq';

const kinds = {
  nothing: () => {},
  compute: () => {
    let sum = 0;
    for (let at = 0; at < 1_000_000; at += 1) sum += at % 7;
    return sum;
  },
  awaits: async () => {
    for (let at = 0; at < 3_000; at += 1) await undefined;
  },
  /** By CPU time: on a busy machine, only that counts for the watchdog. */
  block: ({ cpuMs }) => {
    console.log(`blocks ${Date.now()}`);
    const start = process.cpuUsage();
    for (let at = 1; ; at += 1) {
      if (at % 100_000 !== 0) continue;
      const { user, system } = process.cpuUsage(start);
      if (user + system >= 1_000 * cpuMs) return;
    }
  },
};

const worker = new Worker(process.env.QUEUE ?? 'bench', async ({ data }) => kinds[data.kind](data), {
  connection: { host: '127.0.0.1', port: Number(process.env.QUEUE_REDIS_PORT) },
  concurrency: 10,
  removeOnComplete: { count: 0 },
});
worker.on('error', (error) => console.error(error.message));
await worker.waitUntilReady();
if (globalThis.gc) {
  // see timer.mjs
  await delay(100);
  globalThis.gc();
}
