// Finds its Redis as most programs do.
import { Worker } from 'bullmq';
import { queue, work } from './work.cjs';

console.log(`REDIS_URL is ${process.env.REDIS_URL}`);
new Worker(queue, work, { connection: { url: process.env.REDIS_URL } });
