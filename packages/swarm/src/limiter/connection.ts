/**
 * Which Redis a limiter is on. One hub for each connection: what a process does on one Redis shares two
 * connections, the second from the first wait on; in a swarm app the first is the child's own.
 */
import { usageError } from '../errors.js';
import type { LimiterRedis, WakeRedis } from './client.js';
import { Hub } from './hub.js';
import { type LimiterSurroundings, registerCopy, surroundings } from './meeting.js';
import { checkRedis } from './options.js';
import { owner } from './owner.js';

/** By `Limiter.connect`. */
let named: string | LimiterRedis | null = null;
const byUrl = new Map<string, Hub | Promise<Hub>>();
let byClient = new Map<LimiterRedis, Hub>();
/** Connections of our own. */
const own = new Set<{ disconnect(): void }>();

/** Throws `SWARM_BAD_LIMITER`. */
export function nameRedis(redis: string | LimiterRedis): void {
  named = checkRedis(redis, 'Limiter.connect(redis)');
}

/**
 * At once, unless a connection has to be opened. Throws `SWARM_REDIS_MISSING` where nothing names a Redis.
 *
 * @param redis the limiter's own choice; null: the process's
 */
export function hubFor(
  redis: string | LimiterRedis | null,
  around: LimiterSurroundings | null = surroundings(),
): Hub | Promise<Hub> {
  const chosen = redis ?? named;
  if (typeof chosen === 'string') return hubAt(chosen);
  if (chosen) return hubOn(chosen, () => duplicateOf(chosen));
  if (around) return hubOn(around.client, () => around.connect('swarm-limiter'));
  const url = process.env['SWARM_REDIS_URL'] || process.env['REDIS_URL'];
  if (url) return hubAt(url);
  throw usageError(
    'SWARM_REDIS_MISSING',
    'no Redis was named for limiters: call Limiter.connect(urlOrClient), or set SWARM_REDIS_URL or REDIS_URL',
  );
}

/** Whatever the user's own client does without a connection, this one waits for it. */
function duplicateOf(client: LimiterRedis): WakeRedis {
  // what it takes differs between clients; of none is it more than can be left out
  const own: { duplicate(...overrides: object[]): WakeRedis } = client;
  const waits = { enableOfflineQueue: true };
  const retries = { maxRetriesPerRequest: null };
  return client.isCluster
    ? own.duplicate([], { ...waits, redisOptions: retries })
    : own.duplicate({ ...waits, ...retries });
}

function hubOn(client: LimiterRedis, connectWakes: ConstructorParameters<typeof Hub>[1]): Hub {
  let hub = byClient.get(client);
  if (!hub) {
    hub = new Hub(client, connectWakes);
    byClient.set(client, hub);
  }
  return hub;
}

function hubAt(url: string): Hub | Promise<Hub> {
  const known = byUrl.get(url);
  if (known) return known;
  const opening = open(url);
  byUrl.set(url, opening);
  opening.then(
    (hub) => byUrl.get(url) === opening && byUrl.set(url, hub),
    () => byUrl.delete(url),
  );
  return opening;
}

/** ioredis is loaded here: who brings a client of its own has one already. */
async function open(url: string): Promise<Hub> {
  const [{ connect }, { parseRedisUrl }] = await Promise.all([
    import('../redis/connect.js'),
    import('../redis/url.js'),
  ]);
  const target = parseRedisUrl(url, 'redis');
  const connectAs = (role: 'jobs' | 'blocking') => {
    const client = connect(target, { name: 'swarm-limiter', role });
    own.add(client);
    return client;
  };
  return new Hub(connectAs('jobs'), () => connectAs('blocking'));
}

/** Gives back all leases of this process, and closes the connections that were opened for limiters. */
export async function closeAll(): Promise<void> {
  const hubs = await openHubs();
  byUrl.clear();
  byClient = new Map();
  await Promise.all(hubs.map((hub) => hub.close()));
  for (const client of own) client.disconnect();
  own.clear();
}

async function openHubs(): Promise<Hub[]> {
  const opened = await Promise.allSettled([...byUrl.values(), ...byClient.values()]);
  return opened.flatMap((result) => (result.status === 'fulfilled' ? result.value : []));
}

registerCopy({
  async free(child, opens) {
    if (byUrl.size + byClient.size === 0 && (opens || named || surroundings())) await hubFor(null);
    const freed = await Promise.all((await openHubs()).map((hub) => hub.free(child)));
    return freed.reduce((sum, count) => sum + count, 0);
  },
  async leave() {
    const { child } = owner();
    if (child === null) return;
    const holding = (await openHubs()).filter(({ isHolding }) => isHolding);
    await Promise.all(holding.map((hub) => hub.free(child)));
  },
});
