// A Worker that is given a URL.
import { Worker } from 'bullmq';
import { port, queue, work } from './work.cjs';

new Worker(queue, work, { connection: { url: `redis://127.0.0.1:${port}` } });
