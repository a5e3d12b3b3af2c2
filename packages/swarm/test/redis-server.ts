/** A real redis-server for a test: on loopback, on a free port, without persistence unless asked for. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';

export interface TestRedis {
  url: string;
  port: number;
  pid: number;
  /** Its working directory, removed at the end. */
  directory: string;
  /** SIGSTOP makes a black hole of it, SIGCONT ends that. */
  signal(signal: NodeJS.Signals): void;
  stop(): Promise<void>;
}

export interface TestRedisOptions {
  /** More arguments, e.g. `['--requirepass', 'secret']`. */
  args?: string[];
  port?: number;
  /** `--sentinel` needs a writable configuration file as its first argument. */
  configFile?: string;
  /** Do not wait until it has loaded what is on disk; default false. */
  loads?: boolean;
}

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const server of running) server.kill('SIGKILL');
});
// the runner ends a file that hangs by a signal
process.once('SIGTERM', () => process.exit(143));

export async function startRedis(options: TestRedisOptions = {}): Promise<TestRedis> {
  const { args = [], port, configFile, loads = false } = options;
  const directory = mkdtempSync(join(tmpdir(), 'swarm-redis-'));
  const own = port ?? (await freePort());
  const first = configFile === undefined ? [] : [configFile];
  const persistence = args.includes('--sentinel') ? [] : ['--save', '', '--appendonly', 'no'];
  const where = ['--port', String(own), '--bind', '127.0.0.1', '--dir', directory];
  const server = spawn('redis-server', [...first, ...where, ...persistence, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(server);
  let output = '';
  server.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  server.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const ended = new Promise<void>((resolve) => server.once('close', () => resolve()));
  const stop = async (): Promise<void> => {
    server.kill('SIGCONT');
    server.kill('SIGKILL');
    await ended;
    running.delete(server);
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await until(() => answers(own, loads), `redis-server answers on ${own}`, 10_000);
  } catch (error) {
    await stop();
    throw new Error(`${(error as Error).message}\n${output}`, { cause: error });
  }
  return {
    url: `redis://127.0.0.1:${own}`,
    port: own,
    pid: server.pid ?? 0,
    directory,
    signal: (signal) => void server.kill(signal),
    stop,
  };
}

/** A Redis and a client of it, for all tests of the suite that calls this. */
export function redisOfSuite(): { readonly redis: TestRedis; readonly client: Redis } {
  let redis: TestRedis;
  let client: Redis;
  before(async () => {
    redis = await startRedis();
    client = new Redis({ port: redis.port });
  });
  after(async () => {
    client.disconnect();
    await redis.stop();
  });
  return {
    get redis() {
      return redis;
    },
    get client() {
      return client;
    },
  };
}

/**
 * Below the range from which the kernel gives ports to connections: one of those could take it before the server does,
 * and a client that tries again and again while nobody listens could meet itself there.
 */
const LOWEST_PORT = 12_000;
const HIGHEST_PORT = 30_000;

export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(LOWEST_PORT, HIGHEST_PORT);
    if (await isFree(port)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** It listens before it has loaded what is on disk. */
function answers(port: number, mayLoad: boolean): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => socket.write('PING\r\n'));
    socket.once('data', (reply) => {
      socket.destroy();
      resolve(mayLoad || !reply.toString().startsWith('-LOADING'));
    });
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
  });
}

/** Polls a condition; fails with its name after the deadline. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  timeoutMs = 5_000,
): Promise<void> {
  // a shared machine is at times several times slower than what a test was written on
  const limitMs = 3 * timeoutMs;
  const deadlineMs = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() >= deadlineMs) throw new Error(`not within ${limitMs} ms: ${what}`);
    await sleep(20);
  }
}
