/**
 * The parts of BullMQ that a child relies on, 5.x and 6.x alike: all public or protected there. Only
 * types: bullmq is the app's own, found at run time.
 */
import { createRequire } from 'node:module';
import type { LockTimes } from '../protocol.js';
import { type RedisAddress, redisIdOf } from '../redis/url.js';

export interface BullJob {
  id?: string | undefined;
  name: string;
  /** Runs begun, this one included. Absent in older 5.x. */
  attemptsStarted?: number | undefined;
  attemptsMade?: number | undefined;
  /** Epoch ms of its adding. */
  timestamp?: number | undefined;
  /** ms. */
  delay?: number | undefined;
  /** Puts an active job back to wait; checked against the lock token, attempts untouched. */
  moveToWait(token: string): Promise<unknown>;
  moveToFailed(error: Error, token: string, fetchNext: boolean): Promise<unknown>;
  /** 1: it had that token, and has so many ms from now on. */
  extendLock(token: string, durationMs: number): Promise<unknown>;
}

/** What BullMQ's scripts run on: ioredis itself in older releases, a thin wrapper of it in newer. */
export interface BullClient {
  defineCommand(name: string, definition: { numberOfKeys: number; lua: string }): void;
  runCommand?(name: string, args: unknown[]): Promise<unknown>;
  on(event: string, listener: () => void): unknown;
}

export interface BullWorker {
  readonly id: string;
  readonly name: string;
  readonly opts: {
    prefix?: string;
    connection?: unknown;
    lockDuration?: unknown;
    /** BullMQ sets it to half of the duration where the program does not. */
    lockRenewTime?: unknown;
    skipLockRenewal?: unknown;
  };
  concurrency: number;
  toKey(type: string): string;
  waitUntilReady(): Promise<unknown>;
  pause(doNotWaitActive?: boolean): Promise<void>;
  /** 5.x: returns nothing, 6.x: a promise. */
  resume(): Promise<void> | undefined;
  close(force?: boolean): Promise<void>;
  isPaused(): boolean;
  /** Its main loop runs. */
  isRunning?(): boolean;
  /** Set when it is closed, or about to be. */
  readonly closing?: unknown;
  /** Private: epoch ms until which it is rate-limited. */
  readonly limitUntil?: number;
  on(event: string | symbol, listener: (...args: never[]) => void): unknown;
  emit(event: string, ...args: unknown[]): boolean;
  /** 5.x. */
  readonly client?: Promise<BullClient>;
  /** 6.x; without `client` where the queue is not on Redis. */
  getBackend?(): { client?: Promise<BullClient> };
  /** Protected: renews the locks of the jobs that it tracks. Absent in older 5.x. */
  readonly lockManager?: { untrackJob?(jobId: string): void };
  /** Aborts the signal of a processor that takes one. Absent in older 5.x. */
  cancelJob?(jobId: string, reason?: string): boolean;
  /** Protected: the class that this Worker makes its jobs with. */
  readonly Job: BullJobClass;
}

export interface BullJobClass {
  new (queue: BullWorker, name: string, data: unknown, opts: object, id: string): BullJob;
  fromId(queue: BullWorker, id: string): Promise<BullJob | undefined>;
  prototype: Partial<BullJob>;
}

type ProcessJob = (this: BullWorker, job: BullJob, token: string, ...rest: unknown[]) => Promise<unknown>;

export interface WorkerPrototype {
  run?: (this: BullWorker) => Promise<void>;
  processJob?: ProcessJob;
}

export interface BullModule {
  Worker: {
    new (queue: string, processor: unknown, options: object): BullWorker;
    prototype: WorkerPrototype;
  };
  /** 6.x. */
  RedisQueueBackend?: { prototype: object };
}

export interface FoundBullmq {
  module: BullModule;
  version: string;
  /** The file that it was resolved to. */
  file: string;
}

/** The bullmq that code in `fromFile` would get; null: there is none. */
export function findBullmq(fromFile: string): FoundBullmq | null {
  const require = createRequire(fromFile);
  let file: string;
  try {
    file = require.resolve('bullmq');
  } catch {
    return null;
  }
  const { version } = require('bullmq/package.json') as { version: string };
  return { module: require('bullmq') as BullModule, version, file };
}

export function clientOf(worker: BullWorker): Promise<BullClient | undefined> {
  return Promise.resolve(worker.getBackend ? worker.getBackend().client : worker.client);
}

/** Runs a Lua script on the Worker's own connection, by EVALSHA where Redis knows it. */
export async function runScript(
  client: BullClient,
  script: { name: string; lua: string },
  keys: readonly string[],
  args: readonly (string | number)[],
): Promise<unknown> {
  // part of the name: scripts are cached by name for the life of a connection
  const name = `${script.name}${keys.length}`;
  const commands = client as unknown as Record<
    string,
    ((...args: unknown[]) => Promise<unknown>) | undefined
  >;
  if (!commands[name]) client.defineCommand(name, { numberOfKeys: keys.length, lua: script.lua });
  if (client.runCommand) return client.runCommand(name, [...keys, ...args]);
  return commands[name]?.(...keys, ...args);
}

/** Which Redis a Worker's queue is on, from the connection that the program gave it. */
export function redisIdOfWorker(worker: BullWorker): string {
  const connection = (worker.opts.connection ?? {}) as { options?: object; startupNodes?: unknown };
  // an ioredis instance has its options inside, a Cluster the nodes that it was given
  const options = (connection.options ?? connection) as RedisAddress & { url?: unknown };
  const nodes = Array.isArray(connection.startupNodes) ? connection.startupNodes.map(nodeAddress) : null;
  const fromUrl = typeof options.url === 'string' ? addressInUrl(options.url) : {};
  const { host, port, path, db, sentinels, name } = options;
  return redisIdOf({ host, port, path, db, sentinels, name, nodes, ...fromUrl });
}

/** undefined: its locks are not renewed, or in a way of its own. */
export function lockTimesOf({ opts }: BullWorker): LockTimes | undefined {
  const { lockDuration: durationMs, lockRenewTime: renewMs, skipLockRenewal } = opts;
  if (skipLockRenewal || typeof durationMs !== 'number' || typeof renewMs !== 'number') return undefined;
  return renewMs > 0 && renewMs < durationMs ? { durationMs, renewMs } : undefined;
}

/** A cluster's start-up node is a URL, a port or an object. */
function nodeAddress(node: unknown): { host?: string; port?: number } {
  if (typeof node === 'string') return addressInUrl(node);
  if (typeof node === 'number') return { port: node };
  return node as { host?: string; port?: number };
}

function addressInUrl(url: string): { host?: string; port?: number; db?: number } {
  try {
    const { hostname, port, pathname } = new URL(url);
    return { host: hostname, port: Number(port || 6379), db: Number(pathname.slice(1) || 0) };
  } catch {
    return {};
  }
}
