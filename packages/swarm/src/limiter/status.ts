/** How a limiter is. */
import type { LimiterRedis } from './client.js';
import { type Definition, definitionOf, type LimiterType } from './definition.js';
import { type LimiterCounters, Operations, type RawStatus } from './operations.js';
import { RedisClock } from './redis-clock.js';
import { Script } from './script.js';
import { USE_LOG_KEY } from './use-log.js';

export interface LimiterStatus extends LimiterCounters {
  name: string;
  type: LimiterType | 'unlimited';
  /** The definition in force, e.g. `window 10 60000`. */
  definition: string;
  /** At most so many: at once, in a period or window, in the bucket; points. null: unlimited. */
  limit: number | null;
  /** Leases that are held; 0 where there are none. */
  held: number;
  /** Of the limit: leases, uses in the period or window, what is in the bucket, points that are spent. */
  used: number;
  /** What is left of the limit. null: unlimited. */
  available: number | null;
  /** Who waits for its turn. */
  waiting: number;
  /** When time alone makes room; 0 where there is room, or only a release makes it. */
  roomInMs: number;
}

const NOTHING_COUNTED: LimiterCounters = {
  immediate: 0,
  waited: 0,
  waitMs: 0,
  holds: 0,
  holdMs: 0,
  overages: 0,
  reclaimed: 0,
};

export const UNLIMITED_STATUS: LimiterStatus = {
  name: 'unlimited',
  type: 'unlimited',
  definition: 'unlimited',
  limit: null,
  held: 0,
  used: 0,
  available: null,
  waiting: 0,
  roomInMs: 0,
  ...NOTHING_COUNTED,
};

/** @param raw null: unused of late */
export function statusOf({ name, type, text }: Definition, raw: RawStatus | null): LimiterStatus {
  const inForce = raw?.inForce ?? text;
  const limit = Number(inForce.split(' ')[1]);
  const used = raw?.used ?? 0;
  return {
    name,
    type,
    definition: inForce,
    limit,
    held: type === 'concurrent' ? used : 0,
    used,
    available: Math.max(0, limit - used),
    waiting: raw?.waiting ?? 0,
    roomInMs: raw?.roomInMs ?? 0,
    ...(raw?.counters ?? NOTHING_COUNTED),
  };
}

export type StatusRedis = Pick<LimiterRedis, 'eval' | 'evalsha' | 'isCluster'>;

const LIST = new Script("return redis.call('ZRANGE', KEYS[1], 0, ARGV[1] - 1, 'REV')");
const TOGETHER = 100;

/** The limiters that were used in the last quarter of an hour, the last first, at most `max`. */
export async function readLimits(client: StatusRedis, max: number): Promise<LimiterStatus[]> {
  const entries = (await LIST.run(client, [USE_LOG_KEY], [String(max)])) as string[];
  const operations = new Operations(client, '-', new RedisClock(), { onDefinition: () => {} });
  const all: LimiterStatus[] = [];
  for (let at = 0; at < entries.length; at += TOGETHER) {
    const batch = entries.slice(at, at + TOGETHER).flatMap((entry) => definitionOf(entry) ?? []);
    const read = batch.map(async (definition) => {
      const raw = await operations.status(definition, 1);
      return raw === null ? [] : [statusOf(definition, raw)];
    });
    all.push(...(await Promise.all(read)).flat());
  }
  return all;
}
