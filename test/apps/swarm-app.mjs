// A swarm app with two queues.
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { defineApp } from 'bullmq-swarm';
import { work } from './work.cjs';

let booted = false;

async function untilTaken(job, { signal }) {
  await job.updateProgress({ pid: process.pid });
  if (!signal.aborted) await once(signal, 'abort');
  console.log(`taken: ${signal.reason.message}`);
}

export default defineApp({
  queues: {
    mail: {
      jobs: {
        welcome: work,
        digest: async (job) => ({ ...(await work(job)), booted }),
        untilTaken,
      },
    },
    reports: work,
    exports: work,
  },
  async boot() {
    if (process.env.APP_BOOT_FAILS) throw new TypeError('no database today');
    console.log('booting');
    const gate = process.env.APP_BOOT_GATE;
    while (gate && !existsSync(gate)) await sleep(20);
    booted = true;
    console.log('booted');
    return async () => {
      await sleep(100);
      console.log('closed');
    };
  },
});
