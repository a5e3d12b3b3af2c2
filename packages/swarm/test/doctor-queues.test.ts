/** "The workers are not processing jobs": real queues in each of the states that this is said of, and what `swarm doctor` says. */
import { randomBytes } from 'node:crypto';
import { after, before, describe, it, type TestContext } from 'node:test';
import { type JobsOptions, Queue, Worker } from 'bullmq';
import type { ChildRecord } from '../dist/registry/schema.js';
import { childOn, type ExamOptions, finds, openClient, register } from './doctor-exam.js';
import { startRedis, type TestRedis, until } from './redis-server.js';

const MINUTES_AGO_MS = Date.now() - 300_000;

let redis: TestRedis;
before(async () => {
  redis = await startRedis();
});
after(() => redis.stop());

interface Place {
  queue: Queue;
  options: ExamOptions;
  /** Enters a child that works for these queues, or for this one. */
  takes(queues?: readonly string[], more?: Partial<ChildRecord>): Promise<void>;
}

/** A queue and a registry of a test's own, in a database of their own, so that no other test's queues are seen. */
let database = 0;
async function place(
  t: TestContext,
  { prefix = 'bull', db, jobs = [{}] }: { prefix?: string; db?: number; jobs?: JobsOptions[] } = {},
): Promise<Place> {
  const own = database++;
  const url = `${redis.url}/${own}`;
  const name = `q${randomBytes(4).toString('hex')}`;
  const queue = new Queue(name, {
    connection: { host: '127.0.0.1', port: redis.port, db: db ?? own },
    prefix,
  });
  t.after(() => queue.close());
  for (const options of jobs) await queue.add('welcome', {}, { attempts: 3, ...options });
  const client = await openClient(t, url);
  return {
    queue,
    options: { flags: { redis: url } },
    takes: async (queues = [name], more = {}) => {
      await register(client, { children: [childOn(url, queues, more)] });
    },
  };
}

/** The URL is in the options. */
function says(
  { options }: Place,
  check: string,
  expected: Parameters<typeof finds>[2],
): ReturnType<typeof finds> {
  return finds(String(options.flags?.['redis']), check, expected, options);
}

describe('doctor on jobs that nobody takes', () => {
  it('says that their prefix is another', async (t) => {
    const here = await place(t, { prefix: 'jobs' });
    await here.takes();
    const found =
      /1 job in "\w+" \(prefix "jobs"\) waits: nobody takes jobs of the prefix "jobs"; the children take those of "bull"/;
    await says(here, 'queues-taken', { status: 'fail', found, cure: /same prefix/ });
  });

  it('says that they are in another database', async (t) => {
    const here = await place(t, { db: 15 });
    await here.takes();
    await says(here, 'queues-taken', {
      status: 'fail',
      found: /they are in database 15, and the children work in database \d/,
      cure: /one URL/,
    });
  });

  it('says that the children are connected elsewhere', async (t) => {
    const here = await place(t);
    const elsewhere = childOn('redis://other:6379', [here.queue.name]).workers;
    await here.takes([], { workers: elsewhere });
    await says(here, 'queues-taken', {
      status: 'fail',
      found: /connected to another Redis or database/,
      cure: /REDIS_URL/,
    });
  });

  it('says that the queue is paused', async (t) => {
    const here = await place(t);
    await here.takes();
    await here.queue.pause();
    await says(here, 'queues-taken', {
      status: 'warn',
      found: /the queue is paused/,
      cure: /queue\.resume\(\)/,
    });
  });

  it('says that the global concurrency is 0', async (t) => {
    const here = await place(t);
    await here.takes();
    await here.queue.setGlobalConcurrency(0);
    await says(here, 'queues-taken', {
      status: 'fail',
      found: /global concurrency is 0/,
      cure: /removeGlobalConcurrency/,
    });
  });

  it('says that a rate limit holds them', async (t) => {
    const here = await place(t);
    await here.takes();
    await here.queue.rateLimit(3_600_000);
    await says(here, 'queues-taken', {
      status: 'warn',
      found: /lets nothing through for 59m/,
      cure: /removeRateLimitKey/,
    });
  });

  it('says that the only child is stuck, or quiet', async (t) => {
    const here = await place(t);
    await here.takes(undefined, { stuckSinceMs: Date.now() - 20_000, busy: 1, pid: 4712 });
    await says(here, 'queues-taken', {
      status: 'fail',
      found: /1 child that would take them is stuck/,
      cure: /swarm dump 4712/,
    });
    const other = await place(t);
    await other.takes(undefined, { state: 'quiet', pid: 4713 });
    await says(other, 'queues-taken', {
      status: 'warn',
      found: /all who take them are quiet/,
      cure: /swarm resume 4713/,
    });
  });

  it('says that idle children let them wait', async (t) => {
    const here = await place(t, { jobs: [{ timestamp: MINUTES_AGO_MS }] });
    await here.takes();
    await says(here, 'queues-taken', {
      status: 'fail',
      found: /has waited for up to 5m.*1 child has nothing to do/,
      cure: /swarm recycle/,
    });
  });

  it('names a queue that may be meant, and says when no master runs', async (t) => {
    const here = await place(t);
    await says(here, 'queues-taken', {
      status: 'warn',
      found: /no master runs in this namespace/,
      cure: /swarm --count/,
    });
    await here.takes([`${here.queue.name}s`]);
    await says(here, 'queues-taken', {
      status: 'warn',
      found: /nobody takes jobs of this queue; the children work for "\w+s"/,
    });
  });

  it('is content with Workers that are not its own', async (t) => {
    const here = await place(t);
    const worker = new Worker(here.queue.name, () => new Promise(() => {}), {
      ...here.queue.opts,
      name: 'mine',
    });
    t.after(() => worker.close(true));
    await until(async () => (await here.queue.getWorkersCount()) > 0, 'the Worker is connected');
    await here.queue.add('second', {}, { attempts: 2 });
    await says(here, 'queues-taken', { status: 'ok', found: /1 job waiting where somebody takes them/ });
  });
});

describe('doctor on jobs', () => {
  it('that are active and nobody runs', async (t) => {
    const here = await place(t);
    const { connection } = here.queue.opts;
    const worker = new Worker(here.queue.name, null, { connection, lockDuration: 100, autorun: false });
    await worker.getNextJob('token');
    await worker.close(true);
    const client = await openClient(t, String(here.options.flags?.['redis']));
    await until(
      async () => (await client.exists(`bull:${here.queue.name}:1:lock`)) === 0,
      'its lock has run out',
    );
    const found = /1 job of "\w+" \(1\) is active, and has lost the lock/;
    await says(here, 'jobs-stalled', { status: 'fail', found, cure: /start a Worker/ });
    await here.takes();
    await says(here, 'jobs-stalled', { status: 'warn', found, cure: /half a minute/ });
  });

  it('without attempts', async (t) => {
    const here = await place(t, { jobs: [{ attempts: 1 }, { attempts: 3 }] });
    await says(here, 'job-attempts', {
      status: 'warn',
      found: /jobs without attempts wait in "\w+" \(welcome\)/,
      cure: /defaultJobOptions/,
    });
  });

  it('whose locks are shorter than what blocks', async (t) => {
    const here = await place(t, { jobs: [] });
    await here.takes(undefined, { loopLagMs: 40_000 });
    const found = /locks of "\w+" last 30s, and a child of it was blocked for 40s/;
    await says(here, 'job-locks', { status: 'fail', found, cure: /worker thread/ });
  });

  it('that were taken for stalled', async (t) => {
    const here = await place(t, { jobs: [] });
    await here.takes();
    const client = await openClient(t, String(here.options.flags?.['redis']));
    await client.xadd(here.queue.toKey('events'), '*', 'event', 'stalled', 'jobId', '7');
    await says(here, 'job-locks', {
      status: 'warn',
      found: /1 job of "\w+" was taken for stalled in the last day/,
    });
  });
});
