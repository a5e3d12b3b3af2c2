// TypeScript, as far as node itself would run it.
import { type Job, Worker } from 'bullmq';
import { port, queue, work } from './work.cjs';

interface Data {
  gate?: string;
}

const run = (job: Job<Data>): Promise<unknown> => work(job);
new Worker<Data>(queue as string, run, { connection: { host: '127.0.0.1', port } });
