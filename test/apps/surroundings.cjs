// Prints what a program can see of how it was started.
const { Worker } = require('bullmq');
const { port, queue, work } = require('./work.cjs');

const { argv, argv0, execArgv, execPath, mainModule } = process;
const main = { isMain: require.main === module, file: require.main.filename, parent: module.parent ?? null };
const cwd = process.cwd();
console.log(
  JSON.stringify({
    argv,
    argv0,
    execArgv,
    execPath,
    cwd,
    main,
    mainModule: mainModule.filename,
    file: __filename,
  }),
);
new Worker(queue, work, { connection: { host: '127.0.0.1', port } });
