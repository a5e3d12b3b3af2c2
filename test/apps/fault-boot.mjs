// A program that does not boot, in the way that APP_BOOT names; in slots other than APP_BOOT_SLOT, if that
// is set, it does.
import { Worker } from 'bullmq';

const { APP_BOOT, APP_BOOT_SLOT, SWARM_SLOT, QUEUE_NAME, QUEUE_REDIS_PORT } = process.env;

function connectToNothing() {
  throw new Error('DATABASE_URL is not set');
}

if (APP_BOOT_SLOT === undefined || APP_BOOT_SLOT === SWARM_SLOT) {
  if (APP_BOOT === 'throws') connectToNothing();
  if (APP_BOOT === 'exits') process.exit(3);
  if (APP_BOOT === 'spins') for (;;);
  if (APP_BOOT === 'waits') await new Promise(() => setInterval(() => {}, 1_000));
}

const connection = { host: '127.0.0.1', port: Number(QUEUE_REDIS_PORT) };
const worker = new Worker(QUEUE_NAME, async () => ({ slot: SWARM_SLOT }), { connection });
worker.on('error', (error) => console.error(error.message));
