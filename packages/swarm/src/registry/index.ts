/**
 * Public API `bullmq-swarm/registry`: what all masters of a namespace say about themselves.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { DeathRecord } from '../death.js';
import type { DumpRecord } from '../dump.js';
import { type LimiterStatus, readLimits, type StatusRedis } from '../limiter/status.js';
import type { RedisClient } from '../redis/connect.js';
import { type DeathQuery, type DeathsReading, readDeaths } from './deaths.js';
import { type DumpQuery, type DumpsReading, readDumps } from './dumps.js';
import { readSnapshotHere } from './gone-masters.js';
import { checkNamespace, DEFAULT_NAMESPACE } from './keys.js';
import type { RegistryCommand } from './orders.js';
import { type QueueLag, queueLags } from './queues.js';
import {
  type ChildOnHost,
  childrenOf,
  jobMemoryOf,
  jobsOf,
  type RegistryClient,
  type RegistrySnapshot,
  type SnapshotOptions,
  slowJobsOf,
} from './reader.js';
import type { JobMemoryOnHost, MasterRecord, RunningJob, SlowJob } from './schema.js';
import { type CommandOptions, type CommandResult, sendToAll } from './send.js';

export type {
  DeathCause,
  DeathJob,
  DeathRecord,
  Evidence,
  JobOutcome,
  MemoryPoint,
  OomEvidence,
  UncaughtEvidence,
} from '../death.js';
export type {
  DumpDigest,
  DumpJob,
  DumpKind,
  DumpRecord,
  DumpTrigger,
  Frame,
  FrameOwner,
  Heap,
  NativeSide,
  PendingIo,
  StartedProcess,
} from '../dump.js';
export type { LimiterStatus } from '../limiter/status.js';
export type { ActiveJob, Blame, WorkerInfo } from '../protocol.js';
export type { Answer, CapturedFile } from './commands.js';
export type { DeathQuery, DeathsReading } from './deaths.js';
export type { DumpQuery, DumpsReading } from './dumps.js';
export type { RegistryCommand } from './orders.js';
export type { QueueLag } from './queues.js';
export type { ChildOnHost, RegistryClient, RegistrySnapshot, SnapshotOptions } from './reader.js';
export type {
  ChildRecord,
  ChildState,
  JobDurationRecord,
  JobMemoryOnHost,
  JobMemoryRecord,
  LastDeath,
  MasterInfo,
  MasterRecord,
  MasterState,
  RunningJob,
  SlowJob,
  WorkerRecord,
} from './schema.js';
export type { CommandOptions, CommandResult } from './send.js';
export type { Target } from './target.js';

export interface WatchOptions {
  /** Default 1 s. */
  everyMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

const WATCH_MS = 1_000;

export interface RegistryOptions {
  /**
   * A Redis URL, or an ioredis client (5 or 6; yours to close). Default: `SWARM_REDIS_URL`, else
   * `REDIS_URL`, else the embedded Redis if it runs.
   */
  redis?: string | RegistryClient | undefined;
  /** Default `default`. */
  namespace?: string | undefined;
  /** Accept any TLS certificate; default false. */
  tlsNoVerify?: boolean | undefined;
}

/**
 * Reads a registry, and sends commands to the masters in it.
 *
 * ```ts
 * const registry = new Registry({ redis: 'redis://localhost' });
 * for (const master of await registry.masters()) console.log(master.identity, master.children.length);
 * await registry.close();
 * ```
 *
 * Connects at the first call. Every method but `send` takes two round trips (four while a master that was killed on this host is not 15 s gone), and rejects with a `SwarmError`
 * within about 5 s when Redis cannot be used. Entries that are malformed are left out.
 */
export class Registry {
  readonly namespace: string;
  readonly #options: RegistryOptions;
  #connection: Promise<Connection> | null = null;

  /** Throws `SWARM_BAD_NAMESPACE`. */
  constructor(options: RegistryOptions = {}) {
    this.namespace = checkNamespace(options.namespace ?? DEFAULT_NAMESPACE, 'namespace');
    this.#options = options;
  }

  /** Masters, by host and start, each with its children; `stale: true` when one has not beaten for 15 s, or is gone from this host. */
  async masters(): Promise<MasterRecord[]> {
    return (await this.snapshot()).masters;
  }

  /** Children of masters that are not stale, with host, master and tag. */
  async children(): Promise<ChildOnHost[]> {
    return childrenOf(await this.snapshot());
  }

  /** Jobs that run now, the longest running first; `stale: true` on those that a stale master had when it was last heard of. */
  async jobs(): Promise<RunningJob[]> {
    return jobsOf(await this.snapshot());
  }

  /** The same, with the multiple of its usual duration that each has run for; the largest first. */
  async slowJobs(): Promise<SlowJob[]> {
    return slowJobsOf(await this.snapshot());
  }

  /**
   * How much memory runs of each kind of job leave behind in the children, those that leave most first; kinds
   * of jobs of stale masters are not in it.
   */
  async jobMemory(): Promise<JobMemoryOnHost[]> {
    return jobMemoryOf(await this.snapshot());
  }

  /**
   * Queues that children of masters which are not stale work for, by name: what waits in them, for how long, and
   * what they get. Counts are null for queues that are not on the Redis of the registry.
   */
  queues(): Promise<QueueLag[]> {
    return this.#read(async (client) => queueLags(client, await readSnapshotHere(client, this.namespace)));
  }

  /** How processes of all masters ended, the newest first; by default without those that left as told. */
  async deaths(query: DeathQuery = {}): Promise<DeathRecord[]> {
    return (await this.readDeaths(query)).deaths;
  }

  /** The same, with what was skipped. */
  readDeaths(query: DeathQuery = {}): Promise<DeathsReading> {
    return this.#read((client) => readDeaths(client, this.namespace, query));
  }

  /** Stacks and facts taken of children, the newest first. */
  async dumps(query: DumpQuery = {}): Promise<DumpRecord[]> {
    return (await this.readDumps(query)).dumps;
  }

  /** The same, with what was skipped. */
  readDumps(query: DumpQuery = {}): Promise<DumpsReading> {
    return this.#read((client) => readDumps(client, this.namespace, query));
  }

  /**
   * Limiters of `bullmq-swarm/limiter` that were used on this Redis in the last quarter of an hour, by whatever
   * program; the last used first, at most `limit` (default 1000).
   */
  limits({ limit = 1_000 }: { limit?: number | undefined } = {}): Promise<LimiterStatus[]> {
    return this.#read((client) => readLimits(client as RegistryClient & StatusRedis, limit));
  }

  /** Masters with Redis's time of the reading, which ages are to be counted from, and what was skipped. */
  snapshot(options: SnapshotOptions = {}): Promise<RegistrySnapshot> {
    return this.#read((client) => readSnapshotHere(client, this.namespace, options));
  }

  /**
   * Snapshots for as long as somebody wants the next one, one a second; masters beat each second meanwhile. Ends
   * when `signal` aborts, and throws what `masters()` rejects with.
   *
   * ```ts
   * for await (const { masters } of registry.watch({ signal })) console.log(masters.length);
   * ```
   */
  async *watch({ everyMs = WATCH_MS, signal }: WatchOptions = {}): AsyncGenerator<RegistrySnapshot, void> {
    while (!signal?.aborted) {
      yield await this.snapshot({ watched: true });
      // an abort ends the loop
      await delay(everyMs, undefined, signal ? { signal } : {}).catch(() => {});
    }
  }

  /**
   * Asks masters to do something, and resolves when each has said what came of it, in the order of
   * `masters()`.
   *
   * ```ts
   * await registry.send({ type: 'quiet', target: 'all' });
   * await registry.send({ type: 'recycle', target: child.identity });
   * await registry.send({ type: 'scale', target: 'web1', count: 8 });
   * ```
   *
   * `target` is what `swarm quiet` and its like take: `all`, an identity or the beginning of one, a pid, a host,
   * or a slot's number where only one master runs. `roll` without one is of all masters, one after the other, and
   * ends at the first that could not be rolled. A wedged child can be commanded as well: its master does it.
   *
   * What could not be done is a result with `state: 'failed'` and a message that says why: the master is gone, it
   * does not answer within 5 s (the command is withdrawn then), `deadlineMs` passed (default 10 min; what is under
   * way goes on). A Redis that goes away meanwhile is waited for. Rejects with a `SwarmError`:
   * `SWARM_NO_TARGET` (nobody, or several, are called that, or it is stale), `SWARM_BAD_TARGET` (a child where a
   * master is wanted, or the reverse), `SWARM_BAD_COUNT`, `SWARM_BAD_FOR`, or what `masters()` rejects with.
   */
  async send(command: RegistryCommand, options: CommandOptions = {}): Promise<CommandResult[]> {
    const connection = await this.#connect();
    try {
      await connection.ready();
      return await sendToAll(connection.client, this.namespace, command, options);
    } catch (error) {
      throw await connection.explain(error);
    }
  }

  /** Closes the connection if it is this object's own. It may be used again; it then connects anew. */
  async close(): Promise<void> {
    const connection = this.#connection;
    this.#connection = null;
    await connection?.then(
      ({ close }) => close(),
      () => undefined,
    );
  }

  async #read<T>(read: (client: RegistryClient) => Promise<T>): Promise<T> {
    const connection = await this.#connect();
    try {
      await connection.ready();
      return await read(connection.client);
    } catch (error) {
      throw await connection.explain(error);
    }
  }

  #connect(): Promise<Connection> {
    const { redis, tlsNoVerify = false } = this.#options;
    this.#connection ??=
      typeof redis === 'object' ? Promise.resolve(borrowed(redis)) : open(redis, tlsNoVerify);
    this.#connection.catch(() => {
      this.#connection = null;
    });
    return this.#connection;
  }
}

interface Connection {
  client: RegistryClient;
  ready(): Promise<void>;
  explain(error: unknown): Promise<unknown>;
  close(): void;
}

function borrowed(client: RegistryClient): Connection {
  return { client, ready: async () => {}, explain: async (error) => error, close: () => {} };
}

/** ioredis is loaded here, not at import: with a client of yours, or for the types alone, it is not needed. */
async function open(redis: string | undefined, tlsNoVerify: boolean): Promise<Connection> {
  const [{ connect }, { whenReady }, { parseRedisUrl }, { explainFailure }, { SwarmError }] =
    await Promise.all([
      import('../redis/connect.js'),
      import('../redis/ready.js'),
      import('../redis/url.js'),
      import('../redis/failure.js'),
      import('../errors.js'),
    ]);
  const target = parseRedisUrl(redis ?? (await defaultUrl()), 'redis');
  const client: RedisClient = connect(target, { name: 'swarm-registry', role: 'registry', tlsNoVerify });
  return {
    client,
    ready: () => whenReady(client, target.shown),
    explain: async (error) =>
      error instanceof SwarmError ? error : explainFailure(error, target.shown).error,
    close: () => client.disconnect(),
  };
}

async function defaultUrl(): Promise<string> {
  const named = process.env['SWARM_REDIS_URL'] || process.env['REDIS_URL'];
  if (named) return named;
  const { embeddedUrl, stateDirectory } = await import('../redis/embedded.js');
  const url = await embeddedUrl(stateDirectory());
  if (url !== null) return url;
  const { redisError } = await import('../errors.js');
  throw redisError(
    'SWARM_REDIS_MISSING',
    'no Redis was named and no embedded one runs; pass `redis`, set REDIS_URL, or start swarm',
  );
}
