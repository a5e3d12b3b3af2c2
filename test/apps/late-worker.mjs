// Two Workers, of which the second starts some time after the first: by then the program counts as ready.
import { Worker } from 'bullmq';
import { port, queue, work } from './work.cjs';

const connection = { host: '127.0.0.1', port };
new Worker(`${queue}-early`, work, { connection });
setTimeout(() => new Worker(`${queue}-late`, work, { connection }), 2_000);
