// Uses a limiter of 2 from many waiters at once, and says what it saw: one JSON line at the end.
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { Limiter } from '../../packages/swarm/dist/limiter/index.js';

const { REDIS_PORT, LIMITER, WAITERS, ROUNDS, HOLD_MS, LIMIT } = process.env;
const options = { host: '127.0.0.1', port: Number(REDIS_PORT), maxRetriesPerRequest: null };
const client = new Redis(options);
// its own view of how many are at work, which the limiter knows nothing of
const witness = new Redis(options);
witness.defineCommand('enter', {
  numberOfKeys: 2,
  lua: `
local atWork = redis.call('INCR', KEYS[1])
local time = redis.call('TIME')
return { atWork, redis.call('INCR', KEYS[2]), time[1] * 1000000 + time[2] }`,
});
Limiter.connect(client);
const limiter = Limiter.concurrent(LIMITER, Number(LIMIT), { waitTimeoutMs: 120_000 });

const uses = [];

async function use() {
  // on the limiter's own connection, right before its question: the order in which Redis hears of them
  const arrived = client.incr(`${LIMITER}:arrived`);
  await limiter.withinLimit(async () => {
    const startedAtMs = performance.now();
    const [atWork, place, startedAtUs] = await witness.enter(`${LIMITER}:at-work`, `${LIMITER}:started`);
    await sleep(Number(HOLD_MS));
    await witness.decr(`${LIMITER}:at-work`);
    uses.push({
      arrived: await arrived,
      place,
      atWork,
      startedAtUs,
      heldMs: performance.now() - startedAtMs,
    });
  });
}

async function waiter() {
  for (let round = 0; round < Number(ROUNDS); round += 1) await use();
}

// the connections are there before anybody is in a hurry: one waits for a moment, in vain
const warmUp = Limiter.concurrent(`${LIMITER}:${process.pid}`, 1, { waitTimeoutMs: 1, policy: 'skip' });
await warmUp.withinLimit(() => warmUp.withinLimit(() => {}));
console.log('ready');
process.stdin.once('data', async () => {
  await Promise.all(Array.from({ length: Number(WAITERS) }, waiter));
  console.log(JSON.stringify({ uses }));
  await Limiter.close();
  client.disconnect();
  witness.disconnect();
  process.stdin.destroy();
});
