// A BullMQ program whose queue is on a Redis Cluster, on a connection of its own.
import { createRequire } from 'node:module';
import { Cluster } from 'ioredis';

// an import of a CommonJS package costs twice the CPU time, and tests start hundreds of these
const { Worker } = createRequire(import.meta.url)('bullmq');

const { QUEUE_NAME, APP_CLUSTER_NODES } = process.env;
const connection = new Cluster(JSON.parse(APP_CLUSTER_NODES), {
  redisOptions: { maxRetriesPerRequest: null },
});
connection.on('error', () => {});

async function run(job) {
  console.log(`runs ${job.id}`);
  const { first, ...always } = job.data;
  const { ms = 0 } = job.attemptsStarted <= 1 ? { ...always, ...first } : always;
  await new Promise((resolve) => setTimeout(resolve, ms));
  return { pid: process.pid, starts: job.attemptsStarted };
}

const worker = new Worker(QUEUE_NAME, run, { connection, prefix: '{jobs}' });
worker.on('error', () => {});
