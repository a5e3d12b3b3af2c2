/** The registry that a command's options name. */
import { redisError } from '../errors.js';
import { parseRedisUrl, redactUrl } from '../redis/url.js';
import { Registry } from '../registry/index.js';
import type { RegistrySnapshot } from '../registry/reader.js';
import type { RegistryCommandOptions } from './registry-options.js';

/** The URL, password included, of the Redis that is named, else of the embedded one, which must run. */
export async function redisUrlOf({ redis }: Pick<RegistryCommandOptions, 'redis'>): Promise<string> {
  if (redis !== null && redis !== 'embedded') return redis;
  const { embeddedUrl, stateDirectory } = await import('../redis/embedded.js');
  const stateDir = stateDirectory();
  const url = await embeddedUrl(stateDir);
  if (url !== null) return url;
  throw redisError(
    'SWARM_REDIS_MISSING',
    `${redis === null ? 'no Redis was named, and ' : ''}no embedded Redis runs (looked in ${stateDir}); start swarm, or name its Redis with --redis URL or REDIS_URL`,
  );
}

export interface RegistryReading {
  snapshot: RegistrySnapshot;
  /** Redacted. */
  url: string;
}

/** Reads once and closes. */
export async function readRegistry(options: RegistryCommandOptions): Promise<RegistryReading> {
  const { value: snapshot, url } = await withRegistry(options, (registry) => registry.snapshot());
  return { snapshot, url };
}

/** `url` is redacted. */
export async function withRegistry<T>(
  options: RegistryCommandOptions,
  read: (registry: Registry) => Promise<T>,
): Promise<{ value: T; url: string }> {
  const url = await redisUrlOf(options);
  parseRedisUrl(url, '--redis');
  const { namespace, redisTlsNoVerify: tlsNoVerify } = options;
  const registry = new Registry({ redis: url, namespace, tlsNoVerify });
  try {
    return { value: await read(registry), url: redactUrl(url) };
  } finally {
    await registry.close();
  }
}
