// Uses a limiter from many waiters at once, and says what it saw: one JSON line at the end.
import { setTimeout as sleep } from 'node:timers/promises';
import { Limiter } from 'bullmq-swarm/limiter';
import { Redis } from 'ioredis';

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

// who asks is counted with the question itself: between two calls this process may stand still for long
let arrival;
const evalsha = client.evalsha.bind(client);
client.evalsha = (sha, keys, ...rest) => {
  if (!rest.includes('acquire')) return evalsha(sha, keys, ...rest);
  const done = client
    .multi()
    .incr(`${LIMITER}:arrived`)
    .evalsha(sha, keys, ...rest)
    .exec();
  arrival = done.then(([[, arrived]]) => arrived);
  return done.then(([, [error, reply]]) => {
    if (error) throw error;
    return reply;
  });
};

Limiter.connect(client);
const limiter = Limiter.concurrent(LIMITER, Number(LIMIT), { waitTimeoutMs: 120_000 });

const uses = [];

async function use() {
  let arrived;
  const done = limiter.withinLimit(async () => {
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
  arrived = arrival;
  await done;
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
