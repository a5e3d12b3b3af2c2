/** Several processes that share a limit, from their start to what they saw; see apps/limited.mjs. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Queue } from 'bullmq';
import type { TestRedis } from '../../../test/dist/support/redis.js';
import { waitFor } from '../../../test/dist/support/wait.js';

export interface LimitSetup {
  kind: string;
  processes: number;
  /** Of each process. */
  waiters: number;
  /** Of each waiter. */
  uses: number;
  holdMs: number;
  limit: number;
  /** 0: the limit is of what is at work at once. */
  windowMs: number;
  /** The waiters come within this time. */
  spreadMs: number;
}

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
  uses: Use[];
  /** What the processes asked Redis, the witness aside. */
  commands: number;
  /** Calls that were refused, to be tried again. */
  refusals: number;
  /** CPU time of Redis. */
  redisCpuMs: number;
}

interface Answer {
  seen: Use[];
  commands: number;
  refusals: number;
}

const DEADLINE_MS = 240_000;

export async function runLimit(redis: TestRedis, setup: LimitSetup, name: string): Promise<LimitRun> {
  const total = setup.processes * setup.waiters * setup.uses;
  const queue = setup.kind === 'bullmq' ? await fill(redis, setup, name, total) : null;
  if (setup.kind === 'tokens') await redis.client.rpush(`${name}:tokens`, ...Array(setup.limit).fill('1'));
  const programs = Array.from({ length: setup.processes }, () => new Program(setup, redis, name));
  try {
    for (const program of programs) await program.line(1);
    const beforeMs = await redisCpuMs(redis);
    for (const program of programs) program.say('go');
    if (queue) {
      const done = async (): Promise<boolean> => Number(await redis.client.get(`${name}:started`)) >= total;
      await waitFor('all jobs have begun', done, { timeoutMs: DEADLINE_MS, everyMs: 100 });
      await waitFor('none is at work', async () => (await queue.getActiveCount()) === 0, { everyMs: 100 });
      for (const program of programs) program.say('enough');
    }
    const lines = await Promise.all(programs.map((program) => program.line(2)));
    const redisCpu = (await redisCpuMs(redis)) - beforeMs;
    const answers = lines.map((line) => JSON.parse(line) as Answer);
    return {
      uses: answers.flatMap(({ seen }) => seen),
      commands: answers.reduce((sum, { commands }) => sum + commands, 0),
      refusals: answers.reduce((sum, { refusals }) => sum + refusals, 0),
      redisCpuMs: redisCpu,
    };
  } finally {
    await Promise.all(programs.map((program) => program.close()));
    await queue?.close();
    await redis.client.flushall();
  }
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

class Program {
  readonly #process: ChildProcess;
  readonly #lines: string[] = [];

  constructor(setup: LimitSetup, redis: TestRedis, name: string) {
    const app = fileURLToPath(new URL('../../apps/limited.mjs', import.meta.url));
    const { kind, waiters, uses, holdMs, limit, windowMs, spreadMs } = setup;
    this.#process = spawn(process.execPath, [app], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: {
        ...process.env,
        KIND: kind,
        NAME: name,
        REDIS_PORT: String(redis.port),
        WAITERS: String(waiters),
        USES: String(uses),
        HOLD_MS: String(holdMs),
        LIMIT: String(limit),
        WINDOW_MS: String(windowMs),
        SPREAD_MS: String(spreadMs),
      },
    });
    const { stdout } = this.#process;
    if (stdout) createInterface({ input: stdout }).on('line', (line) => this.#lines.push(line));
    const killAtExit = (): void => void this.#process.kill('SIGKILL');
    process.once('exit', killAtExit);
    this.#process.once('exit', () => process.off('exit', killAtExit));
  }

  /** The n-th line that it prints, from 1. */
  line(nth: number): Promise<string> {
    return waitFor(`line ${nth} of a program`, () => this.#lineOrEnd(nth), {
      timeoutMs: DEADLINE_MS,
      everyMs: 5,
    });
  }

  say(text: string): void {
    this.#process.stdin?.write(`${text}\n`);
  }

  async close(): Promise<void> {
    const { exitCode, signalCode } = this.#process;
    if (exitCode !== null || signalCode !== null) return;
    const exited = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await exited;
  }

  #lineOrEnd(nth: number): string | undefined {
    const line = this.#lines[nth - 1];
    if (line === undefined && (this.#process.exitCode ?? 0) !== 0)
      throw new Error(`a program ended with ${this.#process.exitCode}`);
    return line;
  }
}
