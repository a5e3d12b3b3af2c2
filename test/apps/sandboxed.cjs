// Its jobs run in a process, or a thread, of BullMQ's own.
const { Worker } = require('bullmq');
const { port, queue } = require('./work.cjs');

const useWorkerThreads = process.env.APP_THREADS === 'yes';
const processor = require.resolve('./sandbox.cjs');
new Worker(queue, processor, { connection: { host: '127.0.0.1', port }, useWorkerThreads });
