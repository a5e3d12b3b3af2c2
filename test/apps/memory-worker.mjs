// A BullMQ program whose jobs take memory as their data says. What is in `first` holds only for a job's first start.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

// an import of a CommonJS package costs twice the CPU time, and tests start hundreds of these
const { Worker } = createRequire(import.meta.url)('bullmq');

const {
  QUEUE_NAME,
  QUEUE_REDIS_PORT,
  SWARM_SLOT,
  APP_CONCURRENCY = '1',
  APP_BASELINE_MB = '0',
} = process.env;
/** Kept for the life of the process. */
const ballast = [];

/** Touched, so that it is resident; not zeros, which are shared. */
function take(megabytes) {
  for (let at = 0; at < megabytes; at += 1) ballast.push(Buffer.alloc(1e6, 1 + (ballast.length % 250)));
}

async function run(job) {
  const { first, ...always } = job.data;
  console.log(`runs ${job.id}`);
  const {
    leakMb = 0,
    stepMb = 0,
    steps = 0,
    stepMs = 0,
    ms = 0,
  } = job.attemptsStarted <= 1 ? { ...always, ...first } : always;
  take(leakMb);
  for (let step = 0; step < steps; step += 1) {
    take(stepMb);
    await delay(stepMs);
  }
  await delay(ms);
  return { pid: process.pid, slot: SWARM_SLOT, starts: job.attemptsStarted };
}

function delay(ms) {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

take(Number(APP_BASELINE_MB));
const isPreloaded = readFileSync('/proc/self/maps', 'utf8').includes('libjemalloc');
console.log(`execArgv ${process.execArgv.join(' ') || 'none'}`);
console.log(`jemalloc ${isPreloaded ? 'is' : 'is not'} loaded`);

const worker = new Worker(QUEUE_NAME, run, {
  connection: { host: '127.0.0.1', port: Number(QUEUE_REDIS_PORT), retryStrategy: () => 200 },
  concurrency: Number(APP_CONCURRENCY),
});
worker.on('error', () => {});
