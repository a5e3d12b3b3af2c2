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
/** Entries of older releases that are no jobs. */
const MARKER = '0:';
/** A Worker that sleeps wakes within this. */
const OVERDUE_MS = 30_000;

/** Rejects only where Redis cannot be reached: what has another type counts as nothing. */
export async function readQueue(client: RedisClient, { queue, prefix }: QueueName): Promise<QueueFacts> {
  const key = (suffix: string): string => `${prefix}:${queue}:${suffix}`;
  const [seconds, micros] = await client.time();
  const nowMs = Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
  const said = await askNamed(client, {
    meta: ['hmget', key('meta'), 'paused', 'concurrency', 'max'],
    wait: ['llen', key('wait')],
    paused: ['llen', key('paused')],
    prioritized: ['zcard', key('prioritized')],
    delayed: ['zcard', key('delayed')],
    overdue: ['zcount', key('delayed'), '-inf', String((nowMs - OVERDUE_MS) * DELAY_SCALE)],
    active: ['llen', key('active')],
    limiter: ['get', key('limiter')],
    limitedFor: ['pttl', key('limiter')],
    events: ['xrevrange', key('events'), '+', String(nowMs - DAY_MS), 'COUNT', String(MAX_EVENTS)],
    // the next one is the last of a list
    nextWaiting: ['lrange', key('wait'), String(-SAMPLES), '-1'],
    nextPaused: ['lrange', key('paused'), String(-SAMPLES), '-1'],
    nextPrioritized: ['zrange', key('prioritized'), '0', String(SAMPLES - 1)],
    nextDelayed: ['zrange', key('delayed'), '0', String(SAMPLES - 1)],
  });
  const [isPaused, concurrency, max] = list(said.meta);
  const isLimited = Number(said.limiter ?? 0) >= Math.min(Number(max ?? HELD), HELD);
  const ready = [said.nextWaiting, said.nextPaused].flatMap((ids) => texts(ids).reverse());
  const waiting = [...ready, ...texts(said.nextPrioritized)].filter((id) => !id.startsWith(MARKER));
  const [next] = waiting;
  return {
    queue,
    prefix,
    waiting: number(said.wait) + number(said.paused) + number(said.prioritized) + number(said.overdue),
    oldestWaitMs: next === undefined ? null : await ageOf(client, key(next), nowMs),
    delayed: number(said.delayed) - number(said.overdue),
    active: number(said.active),
    unlocked: await unlocked(client, key),
    isPaused: typeof isPaused === 'string',
    concurrency: typeof concurrency === 'string' ? Number(concurrency) : null,
    limitedForMs: isLimited ? Math.max(0, number(said.limitedFor)) : 0,
    samples: await readJobs(client, key, [...waiting, ...texts(said.nextDelayed)].slice(0, SAMPLES)),
    stalled: countStalled(said.events),
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

async function askNamed<Name extends string>(
  client: RedisClient,
  commands: Readonly<Record<Name, string[]>>,
): Promise<Record<Name, unknown>> {
  const names = Object.keys(commands) as Name[];
  const replies = await ask(
    client,
    names.map((name) => commands[name]),
  );
  return Object.fromEntries(names.map((name, index) => [name, replies[index]])) as Record<Name, unknown>;
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
