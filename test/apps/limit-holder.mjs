// Takes a lease and keeps it.
import { Limiter } from 'bullmq-swarm/limiter';

const { REDIS_URL, LIMITER, LOCK_MS } = process.env;
Limiter.connect(REDIS_URL);
await Limiter.concurrent(LIMITER, 1, { lockTimeoutMs: Number(LOCK_MS) }).withinLimit(() => {
  console.log('held');
  return new Promise(() => setInterval(() => {}, 1_000));
});
