/**
 * Several processes that share a limit, from their start to what they saw; see apps/limited.mjs. A way that is not
 * done in its time, or whose processes end, is an answer and no error: the others are measured all the same.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Queue } from 'bullmq';
import type { LimitProgram } from '../../../test/dist/support/limit-program.js';
import type { TestRedis } from '../../../test/dist/support/redis.js';
import { waitFor } from '../../../test/dist/support/wait.js';
import { type LimitSetup, startLimited } from './limit-setup.js';

export interface Use {
  /** The order in which they asked, from 1. */
  arrived: number;
  /** The order in which they began, from 1. */
  place: number;
  /** How many were at work then, itself included. */
  atWork: number;
  startedAtUs: number;
  heldMs: number;
}

export interface LimitRun {
  /** Why not all uses ended; null if they did. */
  failure: string | null;
  /** Those that ended. */
  uses: Use[];
  wanted: number;
  /** What the processes asked Redis, the witness aside. */
  commands: number;
  /** Calls that were refused, to be tried again. */
  refusals: number;
  /** CPU time of Redis. */
  redisCpuMs: number;
  /** Lines on stderr. */
  errors: number;
  firstError: string | null;
}

interface Answer {
  seen: Use[];
  commands: number;
  refusals: number;
}

/** Six times what it takes where nothing is lost; more than the slowest took on two cores, most of whose time went to others. */
const TIME_LIMIT_MS = 25_000;
/** For a process that is told "enough". */
const ANSWER_LIMIT_MS = 2_000;
const DONE = 'done';

export async function runLimit(redis: TestRedis, setup: LimitSetup, name: string): Promise<LimitRun> {
  const wanted = setup.processes * setup.waiters * setup.uses;
  const queue = setup.kind === 'bullmq' ? await fill(redis, setup, name, wanted) : null;
  if (setup.kind === 'tokens') await redis.client.rpush(`${name}:tokens`, ...Array(setup.limit).fill('1'));
  const programs = Array.from({ length: setup.processes }, () => startLimited(setup, redis.port, name));
  const printed = (nth: number) => (): boolean =>
    programs.every((program) => program.printed(nth) !== undefined);
  const allJobsEnded = async (): Promise<boolean> =>
    Number(await redis.client.get(`${name}:started`)) >= wanted &&
    (await (queue as Queue).getActiveCount()) === 0;
  try {
    let failure = await failureBefore(printed(1), programs, 'not ready');
    const beforeMs = await redisCpuMs(redis);
    if (failure === null) {
      for (const program of programs) program.say('go');
      failure = await failureBefore(queue ? allJobsEnded : printed(2), programs, 'not');
    }
    if (queue || failure !== null) for (const program of programs) program.say('enough');
    const answers = await answersOf(programs, printed(2));
    const uses = answers.flatMap(({ seen }) => seen);
    if (failure === null && uses.length < wanted) failure = 'a process did not answer';
    return {
      failure,
      uses,
      wanted,
      commands: sumOf(answers, ({ commands }) => commands),
      refusals: sumOf(answers, ({ refusals }) => refusals),
      redisCpuMs: (await redisCpuMs(redis)) - beforeMs,
      errors: sumOf(programs, ({ errors }) => errors),
      firstError: programs.find(({ firstError }) => firstError !== null)?.firstError ?? null,
    };
  } finally {
    await Promise.all(programs.map((program) => program.close()));
    await queue?.close();
    await redis.client.flushall();
  }
}

/** null: `isDone` came first. `what` begins the sentence for when the time is up. */
async function failureBefore(
  isDone: () => boolean | Promise<boolean>,
  programs: readonly LimitProgram[],
  what: string,
): Promise<string | null> {
  const deadlineMs = performance.now() + TIME_LIMIT_MS;
  const ending = await waitFor(
    'an ending',
    async () => {
      if (await isDone()) return DONE;
      const ended = programs.find(({ failure }) => failure !== null);
      if (ended) return ended.failure;
      return performance.now() > deadlineMs ? `${what} within ${TIME_LIMIT_MS / 1_000} s` : null;
    },
    { timeoutMs: 2 * TIME_LIMIT_MS },
  );
  return ending === DONE ? null : ending;
}

/** Of those that answer. */
async function answersOf(programs: readonly LimitProgram[], haveAll: () => boolean): Promise<Answer[]> {
  const deadlineMs = performance.now() + ANSWER_LIMIT_MS;
  while (!haveAll() && performance.now() < deadlineMs) await delay(20);
  return programs
    .map((program) => program.printed(2))
    .filter((line) => line !== undefined)
    .map((line) => JSON.parse(line) as Answer);
}

function sumOf<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((sum, item) => sum + value(item), 0);
}

async function fill(redis: TestRedis, setup: LimitSetup, name: string, total: number): Promise<Queue> {
  const queue = new Queue(name, { connection: { host: '127.0.0.1', port: redis.port } });
  if (setup.windowMs === 0) await queue.setGlobalConcurrency(setup.limit);
  await queue.addBulk(Array.from({ length: total }, () => ({ name: 'use', data: {} })));
  return queue;
}

async function redisCpuMs(redis: TestRedis): Promise<number> {
  const info = await redis.client.info('cpu');
  const seconds = ['used_cpu_user', 'used_cpu_sys'].map((name) => {
    return Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(info)?.[1]);
  });
  return 1_000 * seconds.reduce((sum, value) => sum + value, 0);
}
