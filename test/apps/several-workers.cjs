// Two queues in one program, with a concurrency each.
const { Worker } = require('bullmq');
const { port, queue, work } = require('./work.cjs');

const connection = { host: '127.0.0.1', port };
const concurrency = Number(process.env.APP_CONCURRENCY ?? 1);
new Worker(`${queue}-mail`, work, { connection, concurrency });
new Worker(`${queue}-reports`, work, { connection, concurrency: 2 * concurrency });
