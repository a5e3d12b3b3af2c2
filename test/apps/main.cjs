// A CommonJS program that starts only where it is the main module.
const { Worker } = require('bullmq');
const { port, queue, work } = require('./work.cjs');

function start() {
  const prefix = process.env.APP_PREFIX ?? 'bull';
  const worker = new Worker(queue, work, { connection: { host: '127.0.0.1', port }, prefix });
  worker.on('error', (error) => console.error(error.message));
}

if (require.main === module) start();
