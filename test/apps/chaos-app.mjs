// The chaos as a swarm app: one child works for all three queues, by weight.
import { defineApp } from 'bullmq-swarm';
import { run } from './chaos-work.mjs';

export default defineApp({
  queues: Object.fromEntries(
    process.env.CHAOS_QUEUES.split(',').map((name, at) => [name, { process: run, weight: 1 + at }]),
  ),
});
