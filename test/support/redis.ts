/** A real redis-server of a test's own: free port, nothing on disk unless asked, gone with the test. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import './ending.js';
import { waitFor } from './wait.js';

export interface TestRedis {
  readonly port: number;
  readonly url: string;
  readonly client: Redis;
  readonly pid: number;
  /** SIGKILL, or a clean shutdown; `start` brings it back on the same port with the same data. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  start(): Promise<void>;
  /** Ends it and removes its files. */
  close(): Promise<void>;
}

export async function startRedis(extra: readonly string[] = []): Promise<TestRedis> {
  const directory = await mkdtemp(join(tmpdir(), 'swarm-redis-'));
  const port = await freePort();
  let server: ChildProcess | null = null;
  // tests end even if a hook of theirs fails: the server goes with this process
  const killAtExit = (): void => {
    server?.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  };
  process.once('exit', killAtExit);

  const start = async (): Promise<void> => {
    const common = ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory, '--save', ''];
    const started = spawn('redis-server', [...common, '--appendonly', 'no', ...extra], { stdio: 'ignore' });
    server = started;
    await waitFor('redis-server answers', async () => {
      if (started.exitCode !== null) throw new Error(`redis-server ended with ${started.exitCode}`);
      return answers(port);
    });
  };
  const stop = async (signal: NodeJS.Signals = 'SIGKILL'): Promise<void> => {
    if (!server || server.exitCode !== null || server.signalCode !== null) return;
    const exited = once(server, 'exit');
    server.kill(signal);
    await exited;
  };

  try {
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
  const client = new Redis({ host: '127.0.0.1', port, maxRetriesPerRequest: null, retryStrategy: () => 50 });
  client.on('error', () => {});
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    client,
    get pid() {
      return server?.pid as number;
    },
    start,
    stop,
    async close() {
      client.disconnect();
      await stop();
      process.off('exit', killAtExit);
      await rm(directory, { recursive: true, force: true });
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

async function answers(port: number): Promise<boolean> {
  const probe = new Redis({ host: '127.0.0.1', port, lazyConnect: true, retryStrategy: () => null });
  let said = '';
  probe.on('error', ({ message }: Error) => {
    said = message;
  });
  try {
    await probe.connect();
    return true;
  } catch {
    // it listens, and says what it has to say: a password is wanted, data is loading
    return /NOAUTH|LOADING|WRONGPASS/.test(said);
  } finally {
    probe.disconnect();
  }
}
