/**
 * How long does Redis take to answer, and how evenly? What this process itself was late by is told apart: on a
 * machine without a free CPU every answer looks late.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import type { Cluster, Redis } from 'ioredis';
import type { RedisClient } from '../../redis/connect.js';
import { formatDuration } from '../../units.js';
import { defineCheck, listed, type Verdict } from '../check.js';

export interface LatencyFacts {
  /** Round trips, ms, in no order. */
  roundTripsMs: readonly number[];
  /** By how much this process itself was late meanwhile, nine times of ten at most, ms. */
  ownDelayMs: number;
  /** Commands that blocked Redis for long, of the last hour. */
  slow: readonly { command: string; tookMs: number }[];
}

const PINGS = 50;
const PAUSE_MS = 15;
const RESOLUTION_MS = 5;
const SLOW_MS = 50;
const HOUR_S = 3_600;
const SLOW_ENTRIES = 128;
/** Three to five round trips a job: with one of 5 ms, a process does 50 jobs a second, one after the other. */
const SLOW_MEDIAN_MS = 5;
const SLOW_TAIL_MS = 100;

export const redisLatency = defineCheck<LatencyFacts>({
  name: 'redis-latency',
  section: 'Redis',
  async gather(exam) {
    const { client } = await exam.redis();
    const own = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
    own.enable();
    const roundTripsMs: number[] = [];
    for (let index = 0; index < PINGS; index++) {
      const sentAtMs = performance.now();
      await client.time();
      roundTripsMs.push(performance.now() - sentAtMs);
      await delay(PAUSE_MS);
    }
    own.disable();
    return {
      roundTripsMs,
      ownDelayMs: Math.max(0, own.percentile(90) / 1e6 - RESOLUTION_MS),
      slow: await slowCommands(client),
    };
  },
  judge: judgeLatency,
});

async function slowCommands(client: RedisClient): Promise<LatencyFacts['slow']> {
  const nodes = client.isCluster ? (client as Cluster).nodes('master') : [client as Redis];
  const logs = await Promise.all(nodes.map((node) => node.slowlog('GET', SLOW_ENTRIES).catch(() => [])));
  const [seconds] = await client.time();
  return logs.flat().flatMap((entry: unknown) => {
    const [, atSeconds, tookUs, words] = Array.isArray(entry) ? entry : [];
    const command = Array.isArray(words) ? words.slice(0, 2).map(String).join(' ').slice(0, 60) : '';
    const isRecent = Number(seconds) - Number(atSeconds) < HOUR_S;
    const tookMs = Number(tookUs) / 1_000;
    return isRecent && tookMs >= SLOW_MS ? [{ command, tookMs }] : [];
  });
}

export function judgeLatency({ roundTripsMs, ownDelayMs, slow }: LatencyFacts): Verdict {
  const sorted = [...roundTripsMs].sort((a, b) => a - b);
  const part = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  const [median, tail, most] = [part(0.5), part(0.9), part(1)];
  const figures = `half of ${sorted.length} answers within ${ms(median)}, nine tenths within ${ms(tail)}, all within ${ms(most)}`;
  const longest = [...slow].sort((a, b) => b.tookMs - a.tookMs);
  const blocked = longest.map(({ command, tookMs }) => `${command} (${formatDuration(tookMs)})`);
  const details = blocked.length > 0 ? [`slow commands of the last hour: ${listed(blocked, 3)}`] : [];
  // the network is in every answer, the quick ones included; a want of CPU is not
  const isFar = part(0.25) > SLOW_MEDIAN_MS;
  const isOwn = ownDelayMs > tail / 2;
  const isUneven = tail > SLOW_TAIL_MS && !isOwn;
  if (!isFar && !isUneven) {
    const own =
      isOwn && tail > SLOW_MEDIAN_MS ? `; this machine has no CPU to spare, which is part of it` : '';
    return { status: 'ok', found: `${figures}${own}`, details };
  }
  return {
    status: 'warn',
    found: figures,
    details,
    why: 'Each job takes some round trips, one after the other; while Redis does not answer, no job is taken or finished, and locks are not renewed',
    cure: isUneven
      ? [
          'see what blocks Redis: SLOWLOG GET, LATENCY DOCTOR; KEYS, large LRANGE and scripts over many keys do',
          'give Redis a CPU and memory of its own: no swap, no neighbour that takes them',
        ]
      : [
          'run Redis and swarm in the same region, zone and network',
          'more jobs at once (--concurrency) hide round trips',
        ],
  };
}

function ms(value: number): string {
  return value < 10 ? `${value.toFixed(1)} ms` : formatDuration(value).replace('ms', ' ms');
}
