/**
 * `npm run soak -- --seconds 60 --seed S`: a load that never stays the same (silence, single jobs, bursts,
 * delayed and prioritized jobs, pauses) on the queues of a swarm app whose children are never full for long. Every job must
 * begin soon after it could: a wake-up that is lost would be made good for by the next look, 5 s later, and is seen here.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Job, Queue } from 'bullmq';
import { randomFrom } from '../chaos/chaos.js';
import { openQueue } from '../support/jobs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { Swarm } from '../support/swarm.js';
import { waitFor } from '../support/wait.js';

const QUEUES = 5;
const CHILDREN = 2;
const PLACES = 5;
/** Children are not full for longer than these take. */
const MAX_BURST = 60;
const MAX_JOB_MS = 40;

export interface SoakReport {
  seed: string;
  jobs: number;
  lost: string[];
  /** From when it could begin until it did, ms. */
  medianWaitMs: number;
  longestWaitMs: number;
}

interface Expected {
  queue: Queue;
  job: Job;
  /** Epoch ms. */
  couldBeginAtMs: number;
}

export async function soak({ durationMs, seed }: { durationMs: number; seed: string }): Promise<SoakReport> {
  const redis = await startRedis();
  const names = Array.from({ length: QUEUES }, (_, at) => `soak-${at}`);
  const queues = names.map((name) => openQueue(redis, name));
  const swarm = new Swarm('soak-app.mjs', {
    args: ['--count', String(CHILDREN), '-c', String(PLACES), '--redis', redis.url],
    env: { SOAK_QUEUES: names.join(',') },
  });
  try {
    await swarm.ready(CHILDREN);
    const load = new Load(queues, randomFrom(seed));
    const endAtMs = performance.now() + durationMs;
    while (performance.now() < endAtMs) await load.next();
    return await judge(redis, seed, load.expected);
  } finally {
    await swarm.close();
    await Promise.all(queues.map((queue) => queue.close()));
    await redis.close();
  }
}

class Load {
  readonly expected: Expected[] = [];

  constructor(
    readonly queues: readonly Queue[],
    readonly random: () => number,
  ) {}

  async next(): Promise<void> {
    const kind = Math.floor(this.random() * 10);
    if (kind === 0) return void (await delay(this.random() * 1_500));
    if (kind === 1) return this.#burst();
    if (kind === 2) return this.#pause();
    if (kind <= 4) await this.#add({ delay: Math.ceil(this.random() * 1_000) });
    else if (kind === 5) await this.#add({ priority: Math.ceil(this.random() * 10) });
    else await this.#add({});
    await delay(this.random() * 60);
  }

  /** Over in a moment, so that nobody has to wait for places. */
  async #burst(): Promise<void> {
    const count = Math.ceil(this.random() * MAX_BURST);
    await Promise.all(Array.from({ length: count }, () => this.#add({})));
    await delay((count * MAX_JOB_MS) / (CHILDREN * PLACES) + 50);
  }

  async #pause(): Promise<void> {
    const queue = this.#someQueue();
    await queue.pause();
    const from = this.expected.length;
    for (let job = 0; job < 3; job += 1) await this.#add({}, queue);
    await delay(this.random() * 300);
    const resumedAtMs = Date.now();
    await queue.resume();
    for (const each of this.expected.slice(from)) each.couldBeginAtMs = resumedAtMs;
  }

  async #add(options: { delay?: number; priority?: number }, queue = this.#someQueue()): Promise<void> {
    const ms = Math.floor(this.random() * MAX_JOB_MS);
    const job = await queue.add('job', { ms }, options);
    const { delay: delayMs = 0 } = options;
    this.expected.push({ queue, job, couldBeginAtMs: job.timestamp + delayMs });
  }

  #someQueue(): Queue {
    return this.queues[Math.floor(this.random() * this.queues.length)] as Queue;
  }
}

async function judge(redis: TestRedis, seed: string, expected: readonly Expected[]): Promise<SoakReport> {
  const waits: number[] = [];
  const lost: string[] = [];
  for (const { queue, job, couldBeginAtMs } of expected) {
    const key = queue.toKey(job.id as string);
    const read = async (): Promise<string | null> => redis.client.hget(key, 'returnvalue');
    const began = await waitFor(`job ${job.id} is done`, read, { timeoutMs: 15_000 }).catch(() => null);
    if (began === null) lost.push(`${queue.name}/${job.id}`);
    else waits.push(Math.max(0, Number(began) - couldBeginAtMs));
  }
  waits.sort((a, b) => a - b);
  return {
    seed,
    jobs: expected.length,
    lost,
    medianWaitMs: waits[Math.floor(waits.length / 2)] ?? 0,
    longestWaitMs: waits.at(-1) ?? 0,
  };
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { seconds: { type: 'string' }, seed: { type: 'string' } } });
  const durationMs = 1_000 * Number(values.seconds ?? 60);
  const report = await soak({ durationMs, seed: values.seed ?? randomBytes(4).toString('hex') });
  console.log(JSON.stringify(report, null, 2));
  process.exitCode = report.lost.length === 0 && report.longestWaitMs < MAX_WAIT_MS ? 0 : 1;
}

/** Below the 5 s after which everybody looks anyway, and above what a busy machine takes. */
export const MAX_WAIT_MS = 3_500;

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
