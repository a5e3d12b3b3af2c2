// A swarm app whose jobs take a place in a limiter as their data says.
import { setTimeout as sleep } from 'node:timers/promises';
import { defineApp } from 'bullmq-swarm';
import { Limiter } from 'bullmq-swarm/limiter';

const { QUEUE_NAME } = process.env;

async function run(job, { signal }) {
  const { limiter: name, limit = 1, ms = 0, waitTimeoutMs = 60_000, fails = false } = job.data;
  console.log(`runs ${job.id}`);
  const limiter = Limiter.concurrent(name, limit, { waitTimeoutMs, maxReschedules: 3, backoffMs: () => 50 });
  return limiter.withinLimit(async () => {
    console.log(`within ${job.id}`);
    if (fails) throw new Error('it fails');
    await sleep(ms, undefined, { signal: ms > 10_000 ? undefined : signal });
    return { pid: process.pid };
  });
}

export default defineApp({ queues: { [QUEUE_NAME]: run } });
