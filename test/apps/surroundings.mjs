// Prints what a program can see of how it was started.
import { pathToFileURL } from 'node:url';
import { Worker } from 'bullmq';
import { port, queue, work } from './work.cjs';

const { argv, argv0, execArgv, execPath } = process;
const isMain = import.meta.url === pathToFileURL(argv[1]).href;
const cwd = process.cwd();
console.log(JSON.stringify({ argv, argv0, execArgv, execPath, cwd, isMain, url: import.meta.url }));
console.log(JSON.stringify({ env: process.env }));
new Worker(queue, work, { connection: { host: '127.0.0.1', port } });
