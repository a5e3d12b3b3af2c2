/**
 * What several checks look at: Redis, the registry, the queues, the masters on this host. Each is read when it is
 * first asked for, and once.
 */
import type { Config } from '../config.js';
import { isAlive, rawHostName, readBootId, readPidNamespace, readStartTicks } from '../process/proc.js';
import { connect, type RedisClient } from '../redis/connect.js';
import { explainFailure } from '../redis/failure.js';
import { whenReady } from '../redis/ready.js';
import { addressOf, parseRedisUrl, type RedisTarget, redisIdOf } from '../redis/url.js';
import { type DeathsReading, readDeaths } from '../registry/deaths.js';
import { type DumpsReading, readDumps } from '../registry/dumps.js';
import { readSnapshotHere } from '../registry/gone-masters.js';
import type { RegistrySnapshot } from '../registry/reader.js';
import type { MasterRecord } from '../registry/schema.js';
import { NotLookedAt } from './check.js';
import { configuredFleet, type Fleet, runningFleet } from './fleet.js';
import { Machine } from './machine.js';
import { type QueueScan, scanQueues } from './queue-scan.js';
import { readServers, type Server } from './servers.js';

export interface ExaminationInput {
  config: Config;
  /** Of the Redis: embedded ones are found before. Rejects where there is none. */
  redisUrl: () => Promise<string>;
  env: NodeJS.ProcessEnv;
  /** Connections that the app's database allows; null: nobody said. */
  dbMax: number | null;
  /** Connections in the pool of one child; null: nobody said. */
  dbPool: number | null;
  /** Where `/proc` and `/sys` are; '' but in tests. */
  root?: string;
  /** Epoch ms of this host. */
  now?: () => number;
}

const DAY_MS = 24 * 3_600_000;
/** More of them in a day need no count. */
const MAX_DEATHS = 1_000;
const MAX_DUMPS = 200;

export interface Link {
  client: RedisClient;
  target: RedisTarget;
  /** Round trips of the first contact, ms. */
  connectMs: number;
}

export class Examination {
  readonly config: Config;
  readonly env: NodeJS.ProcessEnv;
  readonly dbMax: number | null;
  readonly dbPool: number | null;
  readonly machine: Machine;
  readonly now: () => number;
  readonly #redisUrl: () => Promise<string>;
  readonly #opened: RedisClient[] = [];
  #link: Promise<Link> | null = null;
  #servers: Promise<Server[]> | null = null;
  #snapshot: Promise<RegistrySnapshot> | null = null;
  #deaths: Promise<DeathsReading> | null = null;
  #dumps: Promise<DumpsReading> | null = null;
  #queues: Promise<QueueScan> | null = null;

  constructor(input: ExaminationInput) {
    this.config = input.config;
    this.env = input.env;
    this.dbMax = input.dbMax;
    this.dbPool = input.dbPool;
    this.machine = new Machine(input.root);
    this.now = input.now ?? Date.now;
    this.#redisUrl = input.redisUrl;
  }

  /** Rejects with the reason why Redis cannot be used. */
  connection(): Promise<Link> {
    this.#link ??= this.#open();
    return this.#link;
  }

  /** The same for checks that are about something else. */
  async redis(): Promise<Link> {
    return this.connection().catch((error: unknown) => {
      throw new NotLookedAt('not looked at: Redis cannot be used', { cause: error });
    });
  }

  /** Another connection to the same place; closed with the rest. */
  openBeside({ target }: Link, db?: number): RedisClient {
    const there = db === undefined || target.kind === 'cluster' ? target : { ...target, db };
    const { redisTlsNoVerify: tlsNoVerify } = this.config;
    const client = connect(there, { name: 'swarm-doctor', role: 'registry', tlsNoVerify });
    this.#opened.push(client);
    return client;
  }

  async servers(): Promise<Server[]> {
    const { client } = await this.redis();
    this.#servers ??= readServers(client);
    return this.#servers;
  }

  async snapshot(): Promise<RegistrySnapshot> {
    const { client } = await this.redis();
    this.#snapshot ??= readSnapshotHere(client, this.config.namespace);
    return this.#snapshot;
  }

  /** Of the last day, the newest first; planned ends are not in it. */
  async deaths(): Promise<DeathsReading> {
    const { client } = await this.redis();
    this.#deaths ??= readDeaths(client, this.config.namespace, { limit: MAX_DEATHS });
    const { deaths, warnings } = await this.#deaths;
    const { redisTimeMs } = await this.snapshot();
    return { deaths: deaths.filter(({ atMs }) => redisTimeMs - atMs < DAY_MS), warnings };
  }

  /** Of the last day, the newest first. */
  async dumps(): Promise<DumpsReading> {
    const { client } = await this.redis();
    this.#dumps ??= readDumps(client, this.config.namespace, { limit: MAX_DUMPS });
    const { dumps, warnings } = await this.#dumps;
    const { redisTimeMs } = await this.snapshot();
    return { dumps: dumps.filter(({ atMs }) => redisTimeMs - atMs < DAY_MS), warnings };
  }

  async queues(): Promise<QueueScan> {
    const link = await this.redis();
    this.#queues ??= this.snapshot().then(({ masters }) => {
      const redisId = redisIdOf(addressOf(link.target));
      return scanQueues(link, masters, redisId, (db) => this.openBeside(link, db));
    });
    return this.#queues;
  }

  /** Masters of this namespace that run on this host. Without Redis, nobody can tell. */
  async ownMasters(): Promise<MasterRecord[]> {
    const { masters } = await this.snapshot().catch(() => ({ masters: [] }));
    return masters.filter((master) => !master.stale && isHere(master));
  }

  /** At least one. */
  async fleets(): Promise<Fleet[]> {
    const masters = await this.ownMasters();
    return masters.length > 0 ? masters.map(runningFleet) : [configuredFleet(this.config)];
  }

  close(): void {
    for (const client of this.#opened.splice(0)) client.disconnect();
  }

  async #open(): Promise<Link> {
    const target = parseRedisUrl(await this.#redisUrl(), '--redis');
    const startedAtMs = performance.now();
    const { redisTlsNoVerify: tlsNoVerify } = this.config;
    const client = connect(target, { name: 'swarm-doctor', role: 'registry', tlsNoVerify });
    this.#opened.push(client);
    try {
      await whenReady(client, target.shown);
      // not PING: a Redis that cannot save refuses that as it refuses writes
      await client.time();
    } catch (error) {
      throw explainFailureOnce(error, target.shown);
    }
    return { client, target, connectMs: performance.now() - startedAtMs };
  }
}

function explainFailureOnce(error: unknown, shown: string): unknown {
  return error instanceof Error && error.name === 'SwarmError' ? error : explainFailure(error, shown).error;
}

/** Names of hosts may be anything; a boot and a pid namespace are this one's or not. */
function isHere({ host, pid, info }: MasterRecord): boolean {
  const isSameBoot = info.bootId === readBootId() && info.pidNamespace === readPidNamespace();
  if (!isSameBoot || (info.bootId === null && host !== rawHostName())) return false;
  return isAlive(pid) && (info.pidStartTicks === null || readStartTicks(pid) === info.pidStartTicks);
}
