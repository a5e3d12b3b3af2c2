// A swarm app whose jobs end their process as their data says.
import { defineApp } from 'bullmq-swarm';

async function run(job) {
  const { ms = 0, killAfterMs, crash, exit, fail } = job.data;
  console.log(`runs ${job.id}`);
  if (killAfterMs !== undefined) setTimeout(() => process.kill(process.pid, 'SIGKILL'), killAfterMs);
  if (crash)
    process.nextTick(() => {
      throw new Error('crashed by its job');
    });
  if (exit !== undefined) process.exit(exit);
  await new Promise((resolve) => setTimeout(resolve, ms));
  if (fail) throw new Error('failed as told');
  console.log(`ends ${job.id}`);
  return { pid: process.pid };
}

export default defineApp({
  queues: Object.fromEntries(process.env.QUEUE_NAME.split(',').map((name) => [name, run])),
});
