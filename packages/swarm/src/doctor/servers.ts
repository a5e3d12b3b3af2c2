/** What each Redis server says of itself: INFO, and CONFIG where it is allowed. */
import type { Cluster, Redis } from 'ioredis';
import type { RedisClient } from '../redis/connect.js';
import { numberIn, parseInfo } from '../redis/ready.js';

export interface Server {
  /** `host:port`. */
  name: string;
  info: ReadonlyMap<string, string>;
  /** Only those of `CONFIG_NAMES`; null: CONFIG is not allowed. */
  config: ReadonlyMap<string, string> | null;
}

const CONFIG_NAMES = ['save', 'appendfsync', 'maxmemory-policy', 'timeout'];

export async function readServers(client: RedisClient): Promise<Server[]> {
  const nodes = client.isCluster ? (client as Cluster).nodes('master') : [client as Redis];
  return Promise.all(nodes.map(readServer));
}

async function readServer(node: Redis): Promise<Server> {
  const info = parseInfo(await node.info());
  const config = new Map<string, string>();
  for (const name of CONFIG_NAMES) {
    const value = await configValue(node, name);
    if (value !== null) config.set(name, value);
  }
  const { host = '', port = 0, path } = node.options;
  const name = path ?? `${host}:${port}`;
  return { name, info, config: config.size > 0 ? config : null };
}

async function configValue(node: Redis, name: string): Promise<string | null> {
  try {
    const reply: unknown = await node.config('GET', name);
    const value: unknown = Array.isArray(reply)
      ? reply[1]
      : (reply as Record<string, unknown> | null)?.[name];
    return typeof value === 'string' ? value : null;
  } catch (error) {
    // hosted Redis forbids it
    if (error instanceof Error && error.name === 'ReplyError') return null;
    throw error;
  }
}

export function numberOf({ info }: Server, name: string): number | null {
  return numberIn(info, name);
}

/** Where there are several, which one. */
export function at(server: Server, servers: readonly Server[]): string {
  return servers.length > 1 ? ` at ${server.name}` : '';
}
