/** One queue as BullMQ keeps it in Redis; a few of its jobs stand for all. */
import type { RedisClient } from '../redis/connect.js';

export interface QueueName {
  queue: string;
  prefix: string;
}

export interface SampledJob {
  id: string;
  name: string;
  attempts: number;
}

export interface QueueFacts extends QueueName {
  /** Jobs that could run now: waiting, prioritized, and delayed ones whose time has come. */
  waiting: number;
  /** How long the one that is next has been in the queue, by Redis's clock; null: none waits. */
  oldestWaitMs: number | null;
  /** Delayed jobs whose time has not come. */
  delayed: number;
  active: number;
  /** Active jobs without a lock, as far as was looked. */
  unlocked: string[];
  isPaused: boolean;
  /** Global; null: none is set. */
  concurrency: number | null;
  /** The limiter holds the queue for so long; 0: it does not. */
  limitedForMs: number;
  /** Waiting jobs that were looked at. */
  samples: SampledJob[];
  /** Jobs that BullMQ took for stalled in the last day, as far as its events reach back. */
  stalled: number;
}

const SAMPLES = 5;
const MAX_ACTIVE = 100;
const MAX_EVENTS = 1_000;
const DAY_MS = 24 * 3_600_000;
/** BullMQ's scores of delayed jobs: ms × 4096, and a counter. */
const DELAY_SCALE = 0x1000;
/** What `queue.rateLimit()` writes is more than that, whatever the maximum is. */
const HELD = 2 ** 50;
/** A Worker that sleeps wakes within this. */
const OVERDUE_MS = 30_000;

/** Rejects only where Redis cannot be reached: what has another type counts as nothing. */
export async function readQueue(client: RedisClient, { queue, prefix }: QueueName): Promise<QueueFacts> {
  const key = (suffix: string): string => `${prefix}:${queue}:${suffix}`;
  const [seconds] = await client.time();
  const nowMs = Number(seconds) * 1_000;
  const [meta, wait, paused, prioritized, delayed, overdue, next, samples, limiter, pttl, events] = await ask(
    client,
    [
      ['hmget', key('meta'), 'paused', 'concurrency', 'max'],
      ['llen', key('wait')],
      ['llen', key('paused')],
      ['zcard', key('prioritized')],
      ['zcard', key('delayed')],
      ['zcount', key('delayed'), '-inf', String((nowMs - OVERDUE_MS) * DELAY_SCALE)],
      ['lrange', key('wait'), '-1', '-1'],
      ['lrange', key('wait'), String(-SAMPLES), '-1'],
      ['get', key('limiter')],
      ['pttl', key('limiter')],
      ['xrevrange', key('events'), '+', String(nowMs - DAY_MS), 'COUNT', String(MAX_EVENTS)],
    ],
  );
  const [isPaused, concurrency, max] = list(meta);
  const isLimited = Number(limiter ?? 0) >= Math.min(Number(max ?? HELD), HELD);
  const more = await ask(client, [
    ['lrange', key('paused'), String(-SAMPLES), '-1'],
    ['zrange', key('prioritized'), '0', String(SAMPLES - 1)],
    ['zrange', key('delayed'), '0', String(SAMPLES - 1)],
    ['llen', key('active')],
  ]);
  const [waitingIds, pausedIds, prioritizedIds, delayedIds] = [samples, more[0], more[1], more[2]].map(texts);
  const ids = [...new Set([waitingIds, pausedIds, prioritizedIds, delayedIds].flatMap((some) => some ?? []))];
  const jobs = await readJobs(client, key, ids.filter((id) => !id.startsWith('0:')).slice(0, SAMPLES));
  const [oldest] = [texts(next), pausedIds?.slice(-1), prioritizedIds?.slice(0, 1)].flatMap(
    (some) => some ?? [],
  );
  return {
    queue,
    prefix,
    waiting: number(wait) + number(paused) + number(prioritized) + number(overdue),
    oldestWaitMs: oldest === undefined ? null : await ageOf(client, key(oldest), nowMs),
    delayed: number(delayed) - number(overdue),
    active: number(more[3]),
    unlocked: await unlocked(client, key),
    isPaused: isPaused !== null && isPaused !== undefined,
    concurrency: typeof concurrency === 'string' ? Number(concurrency) : null,
    limitedForMs: isLimited ? Math.max(0, number(pttl)) : 0,
    samples: jobs,
    stalled: countStalled(events),
  };
}

async function readJobs(
  client: RedisClient,
  key: (suffix: string) => string,
  ids: readonly string[],
): Promise<SampledJob[]> {
  const replies = await ask(
    client,
    ids.map((id) => ['hmget', key(id), 'name', 'opts']),
  );
  return ids.flatMap((id, index) => {
    const [name, opts] = list(replies[index]);
    // removed meanwhile
    if (typeof name !== 'string') return [];
    return [{ id, name, attempts: attemptsIn(opts) }];
  });
}

function attemptsIn(opts: unknown): number {
  try {
    const { attempts } = JSON.parse(String(opts)) as { attempts?: unknown };
    return Math.max(1, Number(attempts) || 1);
  } catch {
    return 1;
  }
}

async function ageOf(client: RedisClient, jobKey: string, nowMs: number): Promise<number | null> {
  const [reply] = await ask(client, [['hmget', jobKey, 'timestamp', 'delay']]);
  const [timestamp, delay] = list(reply);
  const addedAtMs = Number(timestamp ?? Number.NaN);
  return Number.isFinite(addedAtMs) ? Math.max(0, nowMs - addedAtMs - Number(delay ?? 0)) : null;
}

/** Looked at twice: a job that ends between two questions looks as if it had lost its lock. */
async function unlocked(client: RedisClient, key: (suffix: string) => string): Promise<string[]> {
  const once = await unlockedNow(client, key);
  if (once.length === 0) return [];
  const again = new Set(await unlockedNow(client, key));
  return once.filter((id) => again.has(id));
}

async function unlockedNow(client: RedisClient, key: (suffix: string) => string): Promise<string[]> {
  const [active] = await ask(client, [['lrange', key('active'), '0', String(MAX_ACTIVE - 1)]]);
  const ids = texts(active);
  const locks = await ask(
    client,
    ids.map((id) => ['exists', `${key(id)}:lock`]),
  );
  return ids.filter((_, index) => locks[index] === 0);
}

function countStalled(events: unknown): number {
  return list(events).filter((entry) => {
    const fields = texts(list(entry)[1]);
    return fields.some(
      (field, index) => index % 2 === 0 && field === 'event' && fields[index + 1] === 'stalled',
    );
  }).length;
}

async function ask(client: RedisClient, commands: string[][]): Promise<unknown[]> {
  if (commands.length === 0) return [];
  const replies = (await client.pipeline(commands).exec()) ?? [];
  return replies.map(([error, reply]) => {
    if (error && error.name !== 'ReplyError') throw error;
    return error ? null : reply;
  });
}

function number(reply: unknown): number {
  return typeof reply === 'number' ? reply : 0;
}

function list(reply: unknown): unknown[] {
  return Array.isArray(reply) ? reply : [];
}

function texts(reply: unknown): string[] {
  return list(reply).filter((item) => typeof item === 'string');
}
