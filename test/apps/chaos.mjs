// The chaos as an unmodified program: a Worker for each of three queues.
import { createRequire } from 'node:module';
import { run } from './chaos-work.mjs';

// an import of a CommonJS package costs twice the CPU time, and tests start hundreds of these
const { Worker } = createRequire(import.meta.url)('bullmq');

const { QUEUE_REDIS_PORT, CHAOS_QUEUES } = process.env;
const connection = {
  host: '127.0.0.1',
  port: Number(QUEUE_REDIS_PORT),
  maxRetriesPerRequest: null,
  retryStrategy: () => 200,
};
for (const queue of CHAOS_QUEUES.split(',')) {
  const worker = new Worker(queue, run, { connection, concurrency: 3 });
  worker.on('error', () => {});
}
