// A swarm app: one queue has a timeout of its own, one has none.
import { setTimeout as delay } from 'node:timers/promises';
import { defineApp } from 'bullmq-swarm';

async function run(job, { signal }) {
  console.log(`runs ${job.id}`);
  if (job.data.heeds) await delay(600_000, null, { signal });
  if (job.data.hang && job.attemptsStarted <= 1) await new Promise(() => {});
  await delay(job.data.ms ?? 0);
  console.log(`ends ${job.id}`);
}

const { QUEUE_NAME } = process.env;
export default defineApp({
  queues: {
    [QUEUE_NAME]: { process: run, jobTimeoutMs: 2_000 },
    [`${QUEUE_NAME}-slow`]: { process: run, jobTimeoutMs: 'off' },
  },
});
