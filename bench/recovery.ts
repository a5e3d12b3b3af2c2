/**
 * How long a job stands still whose process is killed (`kill -9`): until it runs again in another process,
 * under `swarm` and in stock BullMQ with its defaults. Each killed process has just begun a job; the program
 * itself says where and when a job starts, in both cases in the same way.
 *
 * Stock BullMQ takes up to a minute a kill, so there are only a few of these, at the same time as the others:
 * they consist of waiting.
 */
import { Queue } from 'bullmq';
import { startRedis, type TestRedis } from '../../test/dist/support/redis.js';
import type { Swarm } from '../../test/dist/support/swarm.js';
import { waitFor } from '../../test/dist/support/wait.js';
import { median, percentile } from './support/figures.js';
import { type Fleet, startNode, startSwarm } from './support/fleet.js';
import { figure, print, progress } from './support/report.js';
import { openSightings, type Sightings } from './support/sightings.js';

const KILLS = 20;
/** A kill needs a living sibling; slots whose children die young wait longer and longer to spawn again. */
const CHILDREN = 4;
const STOCK_KILLS = 2;
/** BullMQ's lock lasts 30 s, and its stalled check runs every 30 s. */
const STOCK_TIMEOUT_MS = 120_000;
const GOAL_RUNNING_MS = 200;
const GOAL_SEEN_MS = 50;

interface Recovery {
  /** From the kill to the start of the job in another process. */
  runningMs: number;
  /** From the kill to the master's line about it; null: no master. */
  seenMs: number | null;
}

async function measureSwarm(redis: TestRedis, sightings: Sightings): Promise<Recovery[]> {
  const fleet = await startSwarm(
    { app: 'holder.mjs', count: CHILDREN, env: envOf('swarm', redis) },
    redis.url,
  );
  const queue = openQueue('swarm', redis);
  try {
    const recoveries: Recovery[] = [];
    while (recoveries.length < KILLS) {
      await waitFor('a child has a sibling, and nobody boots', () => isCalm(fleet.swarm), { everyMs: 10 });
      progress(`swarm: kill ${recoveries.length + 1} of ${KILLS}`);
      recoveries.push(await killHolder(queue, sightings, fleet.swarm));
    }
    return recoveries;
  } finally {
    await fleet.close();
    await queue.close();
  }
}

/** What boots takes CPU time from what recovers. */
function isCalm(swarm: Swarm): boolean {
  const ready = swarm.children.size;
  const exited = swarm.all('exited').length;
  return ready >= 2 && swarm.spawnedPids.length - exited === ready;
}

async function measureStock(redis: TestRedis, sightings: Sightings): Promise<Recovery[]> {
  const names = Array.from({ length: STOCK_KILLS }, (_, at) => `stock-${at + 1}`);
  return Promise.all(
    names.map(async (name) => {
      const fleet: Fleet = await startNode({ app: 'holder.mjs', count: 2, env: envOf(name, redis) });
      const queue = openQueue(name, redis);
      try {
        return await killHolder(queue, sightings);
      } finally {
        await fleet.close();
        await queue.close();
      }
    }),
  );
}

/** Adds a job, kills whoever starts it, and waits until another process does. */
async function killHolder(queue: Queue, sightings: Sightings, swarm?: Swarm): Promise<Recovery> {
  const { id = '' } = await queue.add('held', {});
  const first = await sightings.start(queue.name, id, 1);
  const killedAt = { ms: performance.now(), epochMs: Date.now() };
  process.kill(first.pid, 'SIGKILL');
  const second = await sightings.start(queue.name, id, 2, STOCK_TIMEOUT_MS);
  if (second.pid === first.pid) throw new Error(`job ${id} started twice in process ${first.pid}`);
  const line = await swarm?.line('exited', { pid: first.pid }, { everyMs: 5 });
  return {
    runningMs: second.atMs - killedAt.ms,
    seenMs: line ? Date.parse(line.time) - killedAt.epochMs : null,
  };
}

function openQueue(name: string, redis: TestRedis): Queue {
  return new Queue(name, { connection: { host: '127.0.0.1', port: redis.port } });
}

function envOf(queue: string, redis: TestRedis): Record<string, string> {
  return { QUEUE: queue, QUEUE_REDIS_PORT: String(redis.port) };
}

function row(title: string, values: readonly number[]): string[] {
  const figures = [median(values), percentile(values, 0.95), Math.max(...values)];
  return [title, String(values.length), ...figures.map(figure)];
}

const redis = await startRedis();
const sightings = await openSightings(redis);
try {
  const [swarm, stock] = await Promise.all([measureSwarm(redis, sightings), measureStock(redis, sightings)]);
  const running = swarm.map(({ runningMs }) => runningMs);
  const seen = swarm.flatMap(({ seenMs }) => seenMs ?? []);
  const stockRunning = stock.map(({ runningMs }) => runningMs);
  const factor = median(stockRunning) / median(running);
  print({
    tables: [
      {
        title: 'kill -9 of a process in a job, ms',
        columns: ['', 'kills', 'median', 'p95', 'max'],
        rows: [
          row('swarm: the master has seen it', seen),
          row('swarm: the job runs again, elsewhere', running),
          row('stock BullMQ: the job runs again, elsewhere', stockRunning),
        ],
      },
    ],
    goals: [
      { what: 'median until the master has seen it', value: median(seen), atMost: GOAL_SEEN_MS, unit: 'ms' },
      {
        what: '95th percentile until the job runs again',
        value: percentile(running, 0.95),
        atMost: GOAL_RUNNING_MS,
        unit: 'ms',
      },
    ],
    notes: [
      `swarm is ${figure(factor)} times as fast as stock BullMQ`,
      `stock BullMQ was measured with ${STOCK_KILLS} kills only, because each takes 30 to 60 s`,
    ],
    data: { swarm, stock },
  });
} finally {
  sightings.close();
  await redis.close();
}
