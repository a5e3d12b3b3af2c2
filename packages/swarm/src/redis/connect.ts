/**
 * Every connection of swarm to Redis is made here, so that all of them fail the same way.
 *
 * - They retry for ever, at least once a second: a master outlives its Redis.
 * - They always have an `error` listener; the last error is kept for messages (`lastErrorOf`).
 * - `registry` connections never make the master wait: no queue of commands, every command ends within
 *   its timeout, and a socket that stays silent under load is replaced (a black hole sends no RST, and
 *   TCP alone would take a quarter of an hour to notice).
 * - `blocking` and `jobs` connections keep commands until Redis is back.
 */
import type { ClusterOptions, RedisOptions } from 'ioredis';
import { Cluster, Redis } from './ioredis.js';
import type { RedisTarget } from './url.js';

export type RedisClient = Redis | Cluster;
export type ConnectionRole = 'registry' | 'blocking' | 'jobs';

export interface ConnectOptions {
  /** Shown in Redis's CLIENT LIST. */
  name: string;
  /** Accept any certificate. */
  tlsNoVerify?: boolean;
  role: ConnectionRole;
}

/**
 * A blocking command (`XREAD BLOCK`, `BZPOPMIN`) must return within this time, or its connection is
 * taken for dead and replaced. Well above the 10 s that BullMQ blocks for.
 */
export const MAX_BLOCK_MS = 30_000;

const CONNECT_TIMEOUT_MS = 5_000;
const COMMAND_TIMEOUT_MS = 3_000;
const MAX_RETRY_DELAY_MS = 1_000;

const lastErrors = new WeakMap<RedisClient, Error>();

/** The last error that a connection of ours reported since it was ready, for messages. */
export function lastErrorOf(client: RedisClient): Error | undefined {
  return lastErrors.get(client);
}

/** Of a command that failed for want of a connection: why there is none, as far as anybody says. */
export function rootCause(client: RedisClient, error: unknown): unknown {
  const isUnconnected =
    error instanceof Error &&
    /^(Stream isn't writeable|Connection is closed)|\b(EPIPE|ECONNRESET)\b/.test(error.message);
  if (!isUnconnected) return error;
  const said = lastErrorOf(client)?.message;
  if (said === undefined)
    return new Error('no connection: Redis still loads its data, or is silent', { cause: error });
  // a Redis with too many clients says so and hangs up, before ioredis listens
  const isHungUp = /\b(EPIPE|ECONNRESET)\b|Connection is closed/.test(said);
  return new Error(isHungUp ? `Redis hangs up (${said}); has it reached its maxclients?` : said, {
    cause: error,
  });
}

/**
 * Opens a connection and returns at once; it keeps trying until it is told to `disconnect()`.
 * Wait for it with `whenReady`.
 */
export function connect(target: RedisTarget, options: ConnectOptions): RedisClient {
  const client =
    target.kind === 'cluster'
      ? new Cluster(
          target.nodes.map(({ host, port }) => ({ host, port })),
          clusterOptions(target, options),
        )
      : new Redis(singleOptions(target, options));
  client.on('ready', () => lastErrors.delete(client));
  let sentinelError: Error | undefined;
  client.on('sentinelError', (error: Error) => {
    sentinelError = error;
  });
  client.on('error', (error: Error) => {
    // ioredis calls sentinels that do not know the master group unreachable; what they said is elsewhere.
    lastErrors.set(client, error.message.startsWith('All sentinels') ? (sentinelError ?? error) : error);
  });
  return client;
}

/** Doubling from 50 ms, with jitter so that many processes do not return in step. */
export function retryDelayMs(attempt: number, random: () => number = Math.random): number {
  const ceilingMs = Math.min(MAX_RETRY_DELAY_MS, 50 * 2 ** Math.min(attempt - 1, 10));
  return Math.round(ceilingMs * (0.5 + random() / 2));
}

function commonOptions(target: RedisTarget, options: ConnectOptions) {
  const waits = options.role !== 'registry';
  return {
    ...(target.username === null ? {} : { username: target.username }),
    ...(target.password === null ? {} : { password: target.password }),
    ...('tls' in target && target.tls
      ? { tls: options.tlsNoVerify ? { rejectUnauthorized: false } : {} }
      : {}),
    // Redis refuses a name with spaces or line breaks.
    connectionName: options.name.replace(/[^!-~]/g, '-'),
    connectTimeout: CONNECT_TIMEOUT_MS,
    socketTimeout: waits ? MAX_BLOCK_MS : 2 * COMMAND_TIMEOUT_MS,
    keepAlive: 10_000,
    maxLoadingRetryTime: 1_000,
    maxRetriesPerRequest: waits ? null : 0,
    autoResendUnfulfilledCommands: waits,
    // A primary that became a replica (fail-over behind one address): only a new connection finds the new one.
    reconnectOnError: (error: Error) => (error.message.startsWith('READONLY') ? (waits ? 2 : 1) : false),
    ...(waits ? {} : { commandTimeout: COMMAND_TIMEOUT_MS }),
  } satisfies RedisOptions;
}

function singleOptions(target: Exclude<RedisTarget, { kind: 'cluster' }>, options: ConnectOptions) {
  const common = {
    ...commonOptions(target, options),
    db: target.db,
    enableOfflineQueue: options.role !== 'registry',
    retryStrategy: (attempt: number) => retryDelayMs(attempt),
  } satisfies RedisOptions;
  switch (target.kind) {
    case 'single':
      return { ...common, host: target.host, port: target.port, family: target.family };
    case 'unix':
      return { ...common, path: target.path };
    case 'sentinel':
      return {
        ...common,
        sentinels: target.sentinels,
        name: target.masterName,
        sentinelRetryStrategy: (attempt: number) => retryDelayMs(attempt),
        sentinelCommandTimeout: COMMAND_TIMEOUT_MS,
        ...(target.sentinelUsername === null ? {} : { sentinelUsername: target.sentinelUsername }),
        ...(target.sentinelPassword === null ? {} : { sentinelPassword: target.sentinelPassword }),
        ...(target.tls ? { enableTLSForSentinelMode: true, sentinelTLS: common.tls ?? {} } : {}),
      };
  }
}

function clusterOptions(target: Extract<RedisTarget, { kind: 'cluster' }>, options: ConnectOptions) {
  const waits = options.role !== 'registry';
  return {
    redisOptions: commonOptions(target, options),
    enableOfflineQueue: waits,
    clusterRetryStrategy: (attempt: number) => retryDelayMs(attempt),
    slotsRefreshTimeout: COMMAND_TIMEOUT_MS,
    // 16 tries, a second apart, outlast a fail-over; the registry's next beat tries again anyway.
    maxRedirections: waits ? 16 : 3,
    retryDelayOnFailover: waits ? 1_000 : 200,
    retryDelayOnClusterDown: waits ? 1_000 : 200,
    // Certificates of hosted clusters name hosts, so these must not be resolved to addresses first.
    ...(target.tls
      ? { dnsLookup: (address: string, done: (error: null, address: string) => void) => done(null, address) }
      : {}),
  } satisfies ClusterOptions;
}
