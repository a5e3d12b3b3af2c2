// The same as a swarm app: all queues share one concurrency. MAX_ACTIVE: of the last queue.
import { setTimeout as delay } from 'node:timers/promises';
import { defineApp } from 'bullmq-swarm';
import { work } from './fetch-work.mjs';

const names = process.env.QUEUES.split(',');
const maxActive = process.env.MAX_ACTIVE && Number(process.env.MAX_ACTIVE);

export default defineApp({
  worker: { removeOnComplete: { count: 10_000 } },
  queues: Object.fromEntries(
    names.map((name, at) => [
      name,
      maxActive && at === names.length - 1 ? { process: work, maxActive } : { process: work },
    ]),
  ),
  async boot() {
    await delay(100);
    globalThis.gc?.();
  },
});
