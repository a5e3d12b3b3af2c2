import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { Worker } from 'bullmq';
import { Redis } from 'ioredis';

const connection = new Redis(process.env.REDIS_URL ?? 'redis://127.0.0.1:6379', {
  maxRetriesPerRequest: null,
});

const mail = new Worker(
  'mail',
  async (job) => {
    const { to, subject } = job.data;
    await sleep(50 + Math.random() * 150); // The mail server takes its time.
    if (!to.includes('@')) throw new Error(`no mail address: ${to}`);
    return { messageId: createHash('sha1').update(`${job.id} ${to} ${subject}`).digest('hex') };
  },
  { connection, concurrency: 10 },
);

const reports = new Worker(
  'reports',
  async (job) => {
    const { month, rows } = job.data;
    const lines = ['day,orders,total'];
    for (let row = 0; row < rows; row++) {
      lines.push(
        `${month}-${String((row % 28) + 1).padStart(2, '0')},${row * 7},${(row * 7 * 12.5).toFixed(2)}`,
      );
      if (row % 10_000 === 0) await job.updateProgress(Math.round((100 * row) / rows));
    }
    const folder = join(tmpdir(), 'reports');
    await mkdir(folder, { recursive: true });
    const file = join(folder, `${month}.csv.gz`);
    await writeFile(file, gzipSync(lines.join('\n')));
    return { file, rows };
  },
  { connection, concurrency: 2 },
);

for (const worker of [mail, reports]) {
  worker.on('completed', (job) => console.log(`${worker.name} ${job.id} done`));
  worker.on('failed', (job, error) => console.error(`${worker.name} ${job?.id} failed: ${error.message}`));
  worker.on('error', (error) => console.error(`${worker.name}: ${error.message}`));
}

async function shutdown(signal) {
  console.log(`${signal}: finishing what is running`);
  await Promise.all([mail.close(), reports.close()]);
  await connection.quit();
  process.exit(0);
}

process.on('SIGTERM', shutdown);
process.on('SIGINT', shutdown);
