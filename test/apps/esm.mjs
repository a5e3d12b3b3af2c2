// An ES module: the commonest program.
import { Worker } from 'bullmq';
import { port, queue, work } from './work.cjs';

const worker = new Worker(queue, work, { connection: { host: '127.0.0.1', port } });
worker.on('error', (error) => console.error(error.message));
