/**
 * Is this Redis one that jobs can be trusted to? Facts are gathered by `checkRedis`; what they mean is
 * decided by `judgeServer`, which is pure. INFO comes first: hosted Redis often forbids CONFIG, and what
 * cannot be known is not warned of.
 */
import type { Cluster, Redis } from 'ioredis';
import { redisError, type SwarmError } from '../errors.js';
import type { RedisClient } from './connect.js';
import { explainFailure } from './failure.js';
import { numberIn, parseInfo, type ReadyOptions, whenReady } from './ready.js';
import { redactUrl } from './url.js';

export interface Warning {
  /** Stable, upper case, `SWARM_…`. */
  code: string;
  message: string;
}

/** What a server says of itself; null: it does not say. */
export interface ServerFacts {
  version: string | null;
  /** Set when the server is Valkey, whose `version` is the Redis it is compatible with. */
  valkeyVersion: string | null;
  maxmemoryPolicy: string | null;
  aofEnabled: boolean | null;
  /** The `save` points, `''` for none. */
  savePoints: string | null;
  maxClients: number | null;
  connectedClients: number | null;
  role: string | null;
  clusterEnabled: boolean | null;
}

export interface JudgeContext {
  /** For messages, redacted. */
  url: string;
  /** Connections that this master and its children are about to open. */
  clientsNeeded: number;
  /** The connection is a cluster connection. */
  asCluster: boolean;
}

export interface RedisCheck {
  /** E.g. `7.0.15`, or `unknown`. */
  version: string;
  warnings: Warning[];
}

export interface CheckOptions extends ReadyOptions {
  /** Connections that are about to be opened; default 10. */
  clientsNeeded?: number;
}

/** Scripts and options that swarm and BullMQ use came with it. */
const MINIMUM_VERSION = [6, 2] as const;

/**
 * Waits for the connection (5 s at most, unless Redis is loading its data), then looks at the server.
 * Throws a `SwarmError` with exit code 69; the caller closes the connection.
 */
export async function checkRedis(
  client: RedisClient,
  url: string,
  options: CheckOptions = {},
): Promise<RedisCheck> {
  const shown = redactUrl(url);
  await whenReady(client, shown, options);
  const nodes = client.isCluster ? (client as Cluster).nodes('master') : [client as Redis];
  const facts = await Promise.all(
    nodes.map((node) =>
      readFacts(node).catch((error: unknown) => {
        throw explainFailure(error, shown).error;
      }),
    ),
  );
  const warnings = new Map<string, Warning>();
  for (const each of facts) {
    const context = { url: shown, clientsNeeded: options.clientsNeeded ?? 10, asCluster: client.isCluster };
    const verdict = judgeServer(each, context);
    if (verdict.errors[0]) throw verdict.errors[0];
    for (const warning of verdict.warnings) warnings.set(warning.code, warning);
  }
  return { version: facts[0]?.version ?? 'unknown', warnings: [...warnings.values()] };
}

async function readFacts(node: Redis): Promise<ServerFacts> {
  const info = parseInfo(await allowed(node.info(), ''));
  const save = await allowed(node.config('GET', 'save'), null);
  const flag = (name: string) => (info.has(name) ? info.get(name) === '1' : null);
  return {
    version: info.get('redis_version') ?? null,
    valkeyVersion: info.get('valkey_version') ?? null,
    maxmemoryPolicy: info.get('maxmemory_policy') ?? null,
    aofEnabled: flag('aof_enabled'),
    savePoints: Array.isArray(save) && typeof save[1] === 'string' ? save[1] : null,
    maxClients: numberIn(info, 'maxclients'),
    connectedClients: numberIn(info, 'connected_clients'),
    role: info.get('role') ?? null,
    clusterEnabled: flag('cluster_enabled'),
  };
}

/** A command that this server or user may not have: only a lost connection is an error. */
async function allowed<T, F>(reply: Promise<T>, fallback: F): Promise<T | F> {
  try {
    return await reply;
  } catch (error) {
    if (error instanceof Error && error.name === 'ReplyError') return fallback;
    throw error;
  }
}

/** Errors stop the start; warnings are logged, or stop it under `--strict`. */
export function judgeServer(
  facts: ServerFacts,
  context: JudgeContext,
): { errors: SwarmError[]; warnings: Warning[] } {
  return { errors: errorsOf(facts, context), warnings: warningsOf(facts, context) };
}

function errorsOf(facts: ServerFacts, { url, asCluster }: JudgeContext): SwarmError[] {
  const errors: SwarmError[] = [];
  const { version } = facts;
  if (version !== null && isOlder(version, MINIMUM_VERSION)) {
    errors.push(
      redisError(
        'SWARM_REDIS_TOO_OLD',
        `Redis at ${url} is ${version}; swarm needs ${MINIMUM_VERSION.join('.')} or newer: upgrade it, or name another with --redis URL`,
      ),
    );
  }
  if (facts.clusterEnabled === true && !asCluster) {
    errors.push(
      redisError(
        'SWARM_REDIS_CLUSTER',
        `Redis at ${url} is a node of a cluster; write redis+cluster://host:port,host:port`,
      ),
    );
  }
  if (facts.role === 'slave') {
    errors.push(
      redisError(
        'SWARM_REDIS_REPLICA',
        `Redis at ${url} is a read-only replica; name its primary with --redis URL`,
      ),
    );
  }
  return errors;
}

function warningsOf(facts: ServerFacts, { url, clientsNeeded }: JudgeContext): Warning[] {
  const warnings: Warning[] = [];
  if (facts.maxmemoryPolicy !== null && facts.maxmemoryPolicy !== 'noeviction') {
    warnings.push({
      code: 'SWARM_REDIS_EVICTS',
      message: `Redis at ${url} has maxmemory-policy ${facts.maxmemoryPolicy}, so it may throw jobs away when its memory is full; set noeviction (CONFIG SET maxmemory-policy noeviction, and in its configuration)`,
    });
  }
  if (facts.aofEnabled === false && facts.savePoints === '') {
    warnings.push({
      code: 'SWARM_REDIS_NOT_PERSISTENT',
      message: `Redis at ${url} keeps nothing on disk, so a restart of it loses all jobs; set appendonly yes`,
    });
  }
  const freeClients =
    facts.maxClients === null ? null : facts.maxClients - Math.max(0, (facts.connectedClients ?? 1) - 1);
  if (freeClients !== null && freeClients < clientsNeeded) {
    warnings.push({
      code: 'SWARM_REDIS_FEW_CLIENTS',
      message: `Redis at ${url} has room for ${Math.max(0, freeClients)} more connections (maxclients ${facts.maxClients}), about ${clientsNeeded} are needed; raise maxclients, or run fewer children`,
    });
  }
  return warnings;
}

/** A version that is no number (a fork's own naming) is not called old. */
function isOlder(version: string, minimum: readonly [number, number]): boolean {
  const match = /^(\d+)\.(\d+)/.exec(version);
  if (!match) return false;
  const [major, minor] = [Number(match[1]), Number(match[2])];
  return major < minimum[0] || (major === minimum[0] && minor < minimum[1]);
}
