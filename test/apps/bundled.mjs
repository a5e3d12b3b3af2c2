// Bundled by its test, with bullmq in it.
import { Worker } from 'bullmq';
import { track } from 'bullmq-swarm';
import { port, queue, work } from './work.cjs';

const worker = new Worker(queue, work, { connection: { host: '127.0.0.1', port } });
if (process.env.APP_TRACKS === 'yes') track(worker);
