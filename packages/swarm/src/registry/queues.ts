/**
 * The lag of queues: what waits in each, since when, and what part of their children's work goes to it. Children say
 * which queues they work for, what may run at once and what they began; the counts are read from BullMQ's keys when
 * they are asked for, so a beat says nothing of them.
 */
import { fieldsOf, numberOf, parseJson } from './fields.js';
import { type RegistryClient, type RegistrySnapshot, run } from './reader.js';
import type { ChildRecord } from './schema.js';

/** What Redis says of a queue; null where it is not on the Redis of the registry. */
interface QueueCounts {
  /** Jobs that could start, those with a priority and those of a paused queue too. */
  waiting: number | null;
  active: number | null;
  delayed: number | null;
  /** Jobs that BullMQ keeps as failed: `removeOnFail` of the app says how many, by default all. */
  failed: number | null;
  /** How long the job that is next has waited, ms; null also where none waits. */
  oldestWaitMs: number | null;
  paused: boolean | null;
}

export interface QueueLag extends QueueCounts {
  queue: string;
  prefix: string;
  redisId: string;
  /** Its part of all jobs that its children have begun, 0 to 1; null: they have begun none. */
  share: number | null;
  /** Jobs of it that were begun since its children's start. */
  started: number;
  /** Jobs of it that may run at once in all of its children together. */
  concurrency: number;
  /** Children that work for it. */
  children: number;
}

export async function queueLags(client: RegistryClient, snapshot: RegistrySnapshot): Promise<QueueLag[]> {
  const served = servedQueues(snapshot);
  const lags = served.map(async ({ isHere, ...queue }) => {
    const counts = isHere ? await countsOf(client, queue, snapshot) : UNKNOWN;
    return { ...queue, ...counts };
  });
  return Promise.all(lags);
}

const UNKNOWN: QueueCounts = {
  waiting: null,
  active: null,
  delayed: null,
  failed: null,
  oldestWaitMs: null,
  paused: null,
};

type ServedQueue = Omit<QueueLag, keyof QueueCounts> & {
  /** It is on the Redis of the registry. */
  isHere: boolean;
};

/** Pure: what the registry alone says, by name. */
export function servedQueues({ masters }: RegistrySnapshot): ServedQueue[] {
  const queues = new Map<string, ServedQueue & { startedBeside: number }>();
  for (const { children, info, stale } of masters) {
    if (stale) continue;
    for (const child of children) {
      if (child.state === 'backoff' || child.state === 'failed') continue;
      const startedInAll = child.workers.reduce((sum, { started = 0 }) => sum + started, 0);
      for (const own of queuesOf(child)) {
        const key = JSON.stringify([own.redisId, own.prefix, own.queue]);
        const known = queues.get(key);
        queues.set(key, {
          ...own,
          isHere: (known?.isHere ?? false) || own.redisId === info.redisId,
          started: (known?.started ?? 0) + own.started,
          concurrency: (known?.concurrency ?? 0) + own.concurrency,
          children: (known?.children ?? 0) + 1,
          startedBeside: (known?.startedBeside ?? 0) + startedInAll,
          share: null,
        });
      }
    }
  }
  const sorted = [...queues.values()].sort(
    (a, b) => compare(a.queue, b.queue) || compare(a.prefix, b.prefix),
  );
  return sorted.map(({ startedBeside, ...queue }) => ({
    ...queue,
    share: startedBeside > 0 ? queue.started / startedBeside : null,
  }));
}

/** A program may have several Workers for one queue. */
function queuesOf({ workers, concurrency: total }: ChildRecord) {
  const byKey = new Map<
    string,
    { queue: string; prefix: string; redisId: string; started: number; concurrency: number }
  >();
  for (const { queue, prefix, redisId, started = 0, concurrency = 0 } of workers) {
    const key = JSON.stringify([redisId, prefix, queue]);
    const known = byKey.get(key) ?? { queue, prefix, redisId, started: 0, concurrency: 0 };
    known.started += started;
    known.concurrency = Math.min(total, known.concurrency + concurrency);
    byKey.set(key, known);
  }
  return byKey.values();
}

async function countsOf(
  client: RegistryClient,
  { queue, prefix }: ServedQueue | Omit<ServedQueue, 'isHere'>,
  { redisTimeMs, warnings }: RegistrySnapshot,
): Promise<QueueCounts> {
  const key = (name: string): string => `${prefix}:${queue}:${name}`;
  const replies = await run(
    client,
    [
      ['llen', key('wait')],
      ['llen', key('paused')],
      ['zcard', key('prioritized')],
      ['llen', key('active')],
      ['zcard', key('delayed')],
      ['zcard', key('failed')],
      ['hexists', key('meta'), 'paused'],
      // next is the last of a list, and the first of the prioritized
      ['lindex', key('wait'), '-1'],
      ['lindex', key('paused'), '-1'],
      ['zrange', key('prioritized'), '0', '0'],
    ],
    warnings,
  );
  const [wait, paused, prioritized, active, delayed, failed, isPaused, ...next] = replies;
  const ids = next.flat().filter((id): id is string => typeof id === 'string');
  const sinceMs = await waitingSince(client, ids.map(key), warnings);
  return {
    waiting: (numberOf(wait) ?? 0) + (numberOf(paused) ?? 0) + (numberOf(prioritized) ?? 0),
    active: numberOf(active),
    delayed: numberOf(delayed),
    failed: numberOf(failed),
    oldestWaitMs: sinceMs === null ? null : Math.max(0, redisTimeMs - sinceMs),
    paused: isPaused === 1,
  };
}

/** Since when the first of these jobs could have started; null: none of them is there. */
async function waitingSince(
  client: RegistryClient,
  jobKeys: readonly string[],
  warnings: string[],
): Promise<number | null> {
  if (jobKeys.length === 0) return null;
  const commands = jobKeys.map((key) => ['hmget', key, 'timestamp', 'opts', 'processedOn']);
  const replies = await run(client, commands, warnings);
  const times = replies.flatMap((reply) => {
    const [timestamp, opts, processedOn] = (Array.isArray(reply) ? reply : []) as (string | null)[];
    if (!timestamp) return [];
    const delayMs = numberOf(fieldsOf(parseJson(opts ?? undefined))?.['delay']) ?? 0;
    // a job that ran before has waited since then at most
    return [Math.max(Number(timestamp) + delayMs, Number(processedOn ?? 0))];
  });
  return times.length > 0 ? Math.min(...times) : null;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
