// A Worker that is started by hand, after what the program has to prepare.
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'bullmq';
import { port, queue, work } from './work.cjs';

const worker = new Worker(queue, work, { connection: { host: '127.0.0.1', port }, autorun: false });
await sleep(300);
console.log('prepared');
worker.run().catch((error) => console.error(error));
