// A swarm app whose jobs take a moment and say when they began.
import { setTimeout as sleep } from 'node:timers/promises';
import { defineApp } from 'bullmq-swarm';

async function run({ data }) {
  const beganAtMs = Date.now();
  await sleep(data.ms);
  return beganAtMs;
}

export default defineApp({
  queues: Object.fromEntries(
    process.env.SOAK_QUEUES.split(',').map((name, at) => [name, { process: run, weight: 1 + at }]),
  ),
});
