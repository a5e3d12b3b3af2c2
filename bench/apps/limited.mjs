// One of several processes that share a limit, by one of the ways to do it. What is at work is counted by a
// witness that no limiter knows of. It says "ready", waits for a line, and answers with one JSON line: when it is done,
// or with what there is when it is told "enough". Only what its way needs is loaded: eight such starts share the cores.
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';

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
  swarm: () => swarmLimit((Limiter, patience) => Limiter.concurrent(NAME, limit, patience)),
  window: () => swarmLimit((Limiter, patience) => Limiter.window(NAME, limit, windowMs, patience)),
  bucket: () => swarmLimit((Limiter, patience) => Limiter.bucket(NAME, limit, 'second', patience)),
  leaky: () => swarmLimit((Limiter, patience) => Limiter.leaky(NAME, limit, windowMs, patience)),
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
  /** Its documentation has a reservoir in cluster mode be filled again every 5 s or a multiple: not for 50 a second. */
  spaced: () => bottleneckLimit({ minTime: windowMs / limit }),
  /** With its queue, which asks again in the order of each process. */
  flexible: async () => {
    const { RateLimiterQueue, RateLimiterRedis } = await import('rate-limiter-flexible');
    const client = new Redis(options);
    const limiter = new RateLimiterRedis({
      storeClient: client,
      keyPrefix: NAME,
      points: limit,
      duration: windowMs / 1_000,
    });
    const consume = limiter.consume.bind(limiter);
    limiter.consume = (...args) =>
      consume(...args).catch((refusal) => {
        refusals += 1;
        throw refusal;
      });
    const queue = new RateLimiterQueue(limiter);
    return {
      async run(fn) {
        await queue.removeTokens(1);
        return fn();
      },
      close: async () => client.disconnect(),
    };
  },
};

async function swarmLimit(make) {
  const { Limiter } = await import('../../packages/swarm/dist/limiter/index.js');
  const limiter = make(Limiter, { waitTimeoutMs: PATIENCE_MS });
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

/**
 * Bottleneck strikes a process from its list that does not answer within a second (as happens while eight share two
 * cores) and lets it back when it sees "UNKNOWN_CLIENT". Redis from 7.0 on puts "ERR " before an error of a script that
 * is one word; bottleneck 2.19.5 does not know it then, and a process once struck off never gets a turn again.
 */
class RedisWithPlainErrors extends Redis {
  defineCommand(name, definition) {
    super.defineCommand(name, definition);
    const command = this[name];
    this[name] = (...args) => {
      const callback = args.pop();
      return command.call(this, ...args, (error, reply) => {
        if (error)
          error.message = error.message.replace(/^ERR (?=UNKNOWN_CLIENT|SETTINGS_KEY_NOT_FOUND)/, '');
        callback(error, reply);
      });
    };
  }
}

async function bottleneckLimit(what) {
  const { default: Bottleneck } = await import('bottleneck');
  const limiter = new Bottleneck({
    id: NAME,
    datastore: 'ioredis',
    Redis: RedisWithPlainErrors,
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
  const waits = Array.from({ length: waiters }, () => waiter(run, Math.random() * spreadMs));
  await Promise.race([Promise.all(waits), nextLine()]);
  answer();
  await close();
}

/** Here the jobs are what waits; the processes take what the queue's limit lets them have. */
async function runWorker() {
  const { Worker } = await import('bullmq');
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
  answer();
  await worker.close();
}

function answer() {
  console.log(JSON.stringify({ seen, commands, refusals }));
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
