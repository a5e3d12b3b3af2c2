// A Worker that is given an ioredis connection of the program's own.
const { Worker } = require('bullmq');
const { Redis } = require('ioredis');
const { port, queue, work } = require('./work.cjs');

const connection = new Redis({ host: '127.0.0.1', port, maxRetriesPerRequest: null });
new Worker(queue, work, { connection });
