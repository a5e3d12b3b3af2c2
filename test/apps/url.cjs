// A Worker that is given a URL.
const { Worker } = require('bullmq');
const { port, queue, work } = require('./work.cjs');

new Worker(queue, work, { connection: { url: `redis://127.0.0.1:${port}` } });
