import { Queue } from 'bullmq';
import { Redis } from 'ioredis';

const count = Number(process.argv[2] ?? 100);
const connection = new Redis(process.env.REDIS_URL ?? 'redis://127.0.0.1:6379', {
  maxRetriesPerRequest: null,
});
const mail = new Queue('mail', { connection });
const reports = new Queue('reports', { connection });

const numbers = Array.from({ length: count }, (_, index) => index + 1);
await mail.addBulk(
  numbers.map((number) => ({
    name: 'welcome',
    data: { to: `customer${number}@example.com`, subject: 'Welcome' },
    opts: { attempts: 3, backoff: { type: 'exponential', delay: 1000 } },
  })),
);
await reports.addBulk(
  numbers
    .filter((number) => number % 10 === 0)
    .map((number) => ({
      name: 'monthly',
      data: { month: `2026-${String(((number / 10 - 1) % 12) + 1).padStart(2, '0')}`, rows: 50_000 },
    })),
);
console.log(`added ${count} jobs to mail, ${Math.floor(count / 10)} to reports`);

await Promise.all([mail.close(), reports.close()]);
await connection.quit();
