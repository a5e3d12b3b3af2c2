// Its jobs run in a process, or a thread, of BullMQ's own.
import { Worker } from 'bullmq';
import { port, queue } from './work.cjs';

const useWorkerThreads = process.env.APP_THREADS === 'yes';
const processor = new URL('./sandbox.cjs', import.meta.url);
new Worker(queue, processor, { connection: { host: '127.0.0.1', port }, useWorkerThreads });
