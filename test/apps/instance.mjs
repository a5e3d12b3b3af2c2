// A Worker that is given an ioredis connection of the program's own.
import { Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { port, queue, work } from './work.cjs';

const connection = new Redis({ host: '127.0.0.1', port, maxRetriesPerRequest: null });
new Worker(queue, work, { connection });
