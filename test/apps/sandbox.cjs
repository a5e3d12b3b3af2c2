// The processor file of sandboxed.mjs.
const { isMainThread } = require('node:worker_threads');
const { work } = require('./work.cjs');

module.exports = async (job) => {
  // the process that has the BullMQ Worker: the one above, unless this is a thread of it
  const pid = isMainThread ? process.ppid : process.pid;
  const { attemptsMade } = await work({
    ...job,
    updateProgress: () => job.updateProgress({ pid, sandbox: process.pid }),
  });
  return { pid, attemptsMade, execArgv: process.execArgv, options: process.env.SWARM_CHILD ?? null };
};
