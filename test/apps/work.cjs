// What the jobs of these programs do: each says which process has it, and ends once its gate, a file, is there.
const { existsSync } = require('node:fs');
const { setTimeout: sleep } = require('node:timers/promises');

exports.port = Number(process.env.QUEUE_REDIS_PORT);
exports.queue = process.env.APP_QUEUE;

exports.work = async (job) => {
  await job.updateProgress({ pid: process.pid });
  while (job.data.gate && !existsSync(job.data.gate)) await sleep(20);
  console.log(`done ${job.id}`);
  return { pid: process.pid, attemptsMade: job.attemptsMade };
};
