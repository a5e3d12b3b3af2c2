// One of several processes that share a limit, by one of the ways to do it. What is at work is counted by a
// witness that no limiter knows of. It says "ready", waits for a line, and answers with one JSON line.
import { setTimeout as sleep } from 'node:timers/promises';
import Bottleneck from 'bottleneck';
import { Worker } from 'bullmq';
import { Limiter } from 'bullmq-swarm/limiter';
import { Redis } from 'ioredis';
import { RateLimiterRedis } from 'rate-limiter-flexible';

const { KIND, NAME, REDIS_PORT } = process.env;
const [waiters, uses, holdMs, limit, windowMs, spreadMs] = [
  'WAITERS',
  'USES',
  'HOLD_MS',
  'LIMIT',
  'WINDOW_MS',
  'SPREAD_MS',
].map((name) => Number(process.env[name]));
const PATIENCE_MS = 300_000;
const options = { host: '127.0.0.1', port: Number(REDIS_PORT), maxRetriesPerRequest: null };

const witness = new Redis(options);
witness.defineCommand('enter', {
  numberOfKeys: 2,
  lua: `
local atWork = redis.call('INCR', KEYS[1])
local time = redis.call('TIME')
return { atWork, redis.call('INCR', KEYS[2]), time[1] * 1000000 + time[2] }`,
});

let commands = 0;
const { sendCommand } = Redis.prototype;
Redis.prototype.sendCommand = function (...args) {
  if (this !== witness) commands += 1;
  return sendCommand.apply(this, args);
};

const seen = [];
let refusals = 0;
/** When the last question was asked, where that is counted with it. */
let asked = null;

async function work(arrived) {
  const startedAtMs = performance.now();
  const [atWork, place, startedAtUs] = await witness.enter(`${NAME}:at-work`, `${NAME}:started`);
  if (holdMs > 0) await sleep(holdMs);
  await witness.decr(`${NAME}:at-work`);
  seen.push({ arrived: await arrived, place, atWork, startedAtUs, heldMs: performance.now() - startedAtMs });
}

/** Each resolves to a function that runs `work` when the limit allows it. */
const KINDS = {
  swarm: () => swarmLimit(Limiter.concurrent(NAME, limit, { waitTimeoutMs: PATIENCE_MS })),
  window: () => swarmLimit(Limiter.window(NAME, limit, windowMs, { waitTimeoutMs: PATIENCE_MS })),
  bucket: () => swarmLimit(Limiter.bucket(NAME, limit, 'second', { waitTimeoutMs: PATIENCE_MS })),
  leaky: () => swarmLimit(Limiter.leaky(NAME, limit, windowMs, { waitTimeoutMs: PATIENCE_MS })),
  /** As fast as Redis hands on a token: no lease, no limit if one is lost. */
  tokens: async () => {
    const client = new Redis(options);
    const waits = Array.from({ length: waiters }, () => new Redis(options));
    await Promise.all([...waits, client].map((connection) => connection.ping()));
    return {
      async run(fn) {
        const own = waits.pop();
        await own.blpop(`${NAME}:tokens`, 0);
        try {
          return await fn();
        } finally {
          waits.push(own);
          await client.rpush(`${NAME}:tokens`, '1');
        }
      },
      async close() {
        for (const connection of [...waits, client]) connection.disconnect();
      },
    };
  },
  bottleneck: () => bottleneckLimit({ maxConcurrent: limit }),
  reservoir: () =>
    bottleneckLimit({ reservoir: limit, reservoirRefreshAmount: limit, reservoirRefreshInterval: windowMs }),
  flexible: async () => {
    const client = new Redis(options);
    const limiter = new RateLimiterRedis({
      storeClient: client,
      keyPrefix: NAME,
      points: limit,
      duration: windowMs / 1_000,
    });
    return {
      async run(fn) {
        for (;;) {
          try {
            await limiter.consume('all');
            return await fn();
          } catch (refusal) {
            if (refusal instanceof Error) throw refusal;
            refusals += 1;
            await sleep(refusal.msBeforeNext + 1);
          }
        }
      },
      close: async () => client.disconnect(),
    };
  },
};

async function swarmLimit(limiter) {
  const client = new Redis(options);
  countArrivals(client);
  Limiter.connect(client);
  // the connections are there before anybody is in a hurry
  const warmUp = Limiter.concurrent(`${NAME}:${process.pid}`, 1, { waitTimeoutMs: 1, policy: 'skip' });
  await warmUp.withinLimit(() => warmUp.withinLimit(() => {}));
  return {
    run: (fn) => limiter.withinLimit(fn),
    async close() {
      await Limiter.close();
      client.disconnect();
    },
  };
}

/** With the question itself: between two calls this process may stand still for long. */
function countArrivals(client) {
  const evalsha = client.evalsha.bind(client);
  client.evalsha = (sha, keys, ...rest) => {
    if (!rest.includes('acquire')) return evalsha(sha, keys, ...rest);
    const both = client.multi().incr(`${NAME}:asked`);
    commands -= 3;
    const done = both.evalsha(sha, keys, ...rest).exec();
    asked = done.then(([[, number]]) => number);
    return done.then(([, [error, reply]]) => {
      if (error) throw error;
      return reply;
    });
  };
}

async function bottleneckLimit(what) {
  const limiter = new Bottleneck({
    id: NAME,
    datastore: 'ioredis',
    Redis,
    clientOptions: { ...options, protocol: 2 },
    ...what,
  });
  limiter.on('error', (error) => console.error(error.message));
  await limiter.ready();
  return { run: (fn) => limiter.schedule(fn), close: () => limiter.disconnect(true) };
}

async function waiter(run, delayMs) {
  await sleep(delayMs);
  for (let use = 0; use < uses; use += 1) {
    asked = null;
    let arrived = null;
    const noted = witness.incr(`${NAME}:arrived`);
    const done = run(() => work(arrived));
    arrived = asked ?? noted;
    await done;
  }
}

async function runWaiters() {
  const { run, close } = await KINDS[KIND]();
  await go();
  commands = 0;
  await Promise.all(Array.from({ length: waiters }, () => waiter(run, Math.random() * spreadMs)));
  console.log(JSON.stringify({ seen, commands, refusals }));
  await close();
}

/** Here the jobs are what waits; the processes take what the queue's limit lets them have. */
async function runWorker() {
  const connection = { ...options };
  const limiter = windowMs > 0 ? { limiter: { max: limit, duration: windowMs } } : {};
  const worker = new Worker(NAME, (job) => work(Number(job.id)), {
    connection,
    concurrency: waiters,
    autorun: false,
    ...limiter,
  });
  worker.on('error', (error) => console.error(error.message));
  await worker.waitUntilReady();
  await go();
  commands = 0;
  void worker.run();
  await nextLine();
  console.log(JSON.stringify({ seen, commands, refusals }));
  await worker.close();
}

async function go() {
  console.log('ready');
  await nextLine();
}

function nextLine() {
  return new Promise((resolve) => process.stdin.once('data', resolve));
}

await (KIND === 'bullmq' ? runWorker() : runWaiters());
witness.disconnect();
process.exit(0);
