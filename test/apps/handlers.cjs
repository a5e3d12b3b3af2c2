// Closes its Worker in its own way, and ends itself, whichever signal comes first.
const { Worker } = require('bullmq');
const { port, queue, work } = require('./work.cjs');

const worker = new Worker(queue, work, { connection: { host: '127.0.0.1', port } });

async function shutdown(signal) {
  console.log(`shutdown by ${signal}`);
  await worker.close();
  console.log('worker closed');
  process.exit(0);
}

process.on('SIGTERM', shutdown);
process.on('SIGINT', shutdown);
