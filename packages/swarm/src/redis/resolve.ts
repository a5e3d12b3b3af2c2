/** Which Redis: the one named, or one of our own, unless this looks like a deployment that lost its URL. */
import { redisError } from '../errors.js';

export type RedisChoice = { kind: 'url'; url: string } | { kind: 'embedded' };

export interface ResolveInput {
  /** As configured: a URL, `embedded`, or null when none was named. */
  redis: string | null;
  env: NodeJS.ProcessEnv;
  /** This process's pid. */
  pid: number;
}

/** Set by a platform that runs swarm as a service. */
const SERVICE_VARIABLES = ['DYNO', 'INVOCATION_ID', 'KUBERNETES_SERVICE_HOST'];

/**
 * Throws `SWARM_REDIS_MISSING` (exit 69) where none was named and swarm runs as a service: a dyno that lost
 * its `REDIS_URL` must not swallow jobs into a Redis that nobody else sees.
 */
export function resolveRedis({ redis, env, pid }: ResolveInput): RedisChoice {
  const named = redis?.trim() ?? '';
  if (named === 'embedded') return { kind: 'embedded' };
  if (named !== '') return { kind: 'url', url: named };
  const variable = SERVICE_VARIABLES.find((name) => env[name]);
  const sign = variable ? `${variable} is set` : pid === 1 ? 'its pid is 1' : null;
  if (sign === null) return { kind: 'embedded' };
  throw redisError(
    'SWARM_REDIS_MISSING',
    `no Redis was named, and swarm runs as a service here (${sign}); set REDIS_URL or --redis URL, or --redis embedded if a Redis of its own is meant`,
  );
}
