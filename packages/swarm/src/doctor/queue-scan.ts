/**
 * Every BullMQ queue on a Redis, in all of its databases, and who takes jobs from it: children of the registry, and
 * any other BullMQ Worker, known by the name that its blocking connection has.
 *
 * Redis is asked in small steps (SCAN, pipelines), and only for a bounded time: a large database is looked at in part,
 * and that is said. Queues that children work for are looked at in any case.
 */
import type { Cluster, Redis } from 'ioredis';
import type { RedisClient } from '../redis/connect.js';
import { parseInfo } from '../redis/ready.js';
import type { ChildRecord, MasterRecord } from '../registry/schema.js';
import type { Link } from './examination.js';
import { type QueueFacts, type QueueName, readQueue } from './queue-facts.js';

/** A child that works for a queue. */
export interface Taker {
  child: ChildRecord;
  master: MasterRecord;
}

export interface ScannedQueue extends QueueFacts {
  db: number;
  /** Children whose Workers are on this very queue. */
  takers: Taker[];
  /** BullMQ Workers on it, by the names of their connections; those of the children too. null: CLIENT LIST is not allowed. */
  connectedWorkers: number | null;
}

export interface QueueScan {
  queues: ScannedQueue[];
  /** The one that the registry is in. */
  db: number;
  /** Workers of all children, by the ids of their Redis: on this one, and on others. */
  workers: { queue: string; prefix: string; here: boolean; taker: Taker }[];
  /** Namespaces of registries in this database. */
  namespaces: string[];
  /** All keys of swarm's own in it. */
  ownKeys: string[];
  /** There was no time for all keys. */
  partial: boolean;
}

/** `meta` and `wait` at the end of a key, which every queue has one of, and little else. */
const QUEUE_KEYS = '*:[mw][ea][it][at]';
const OWN_KEYS = 'swarm:*';
const SCAN_COUNT = 1_000;
const SCAN_BUDGET_MS = 3_000;
const MAX_QUEUES = 200;

export async function scanQueues(
  { client, target }: Link,
  masters: readonly MasterRecord[],
  redisId: string,
  open: (db: number) => RedisClient,
): Promise<QueueScan> {
  const db = 'db' in target ? target.db : 0;
  const workers = workersOf(masters, redisId);
  const untilMs = performance.now() + SCAN_BUDGET_MS;
  const keys = await scan(client, QUEUE_KEYS, untilMs);
  const own = await scan(client, OWN_KEYS, untilMs + SCAN_BUDGET_MS);
  const names = unique([
    ...workers.filter(({ here }) => here).map(nameOf),
    ...keys.found.flatMap(queueOfKey),
  ]);
  const connections = await listConnections(client);
  const queues: ScannedQueue[] = [];
  for (const name of names.slice(0, MAX_QUEUES)) {
    queues.push(complete(await readQueue(client, name), db, workers, connections));
  }
  const others = client.isCluster ? [] : await otherDatabases(client as Redis, db);
  for (const other of others) {
    queues.push(...(await scanDatabase(open(other), other, workers, connections)));
  }
  const namespaces = own.found.flatMap((key) => /^swarm:\{(.+)\}:masters$/.exec(key)?.[1] ?? []);
  const ownKeys = own.found;
  return { queues, db, workers, namespaces, ownKeys, partial: !keys.whole || names.length > MAX_QUEUES };
}

/** Of another database, only queues of a name that our children work for: the rest is somebody else's. */
async function scanDatabase(
  client: RedisClient,
  db: number,
  workers: QueueScan['workers'],
  connections: Connections | null,
): Promise<ScannedQueue[]> {
  await new Promise<void>((resolve, reject) => {
    if (client.status === 'ready') return resolve();
    client.once('ready', resolve);
    client.once('error', reject);
  });
  const { found } = await scan(client, QUEUE_KEYS, performance.now() + SCAN_BUDGET_MS);
  const ours = new Set(workers.map(({ queue }) => queue));
  const names = unique(found.flatMap(queueOfKey)).filter(({ queue }) => ours.has(queue));
  const queues: ScannedQueue[] = [];
  for (const name of names.slice(0, MAX_QUEUES)) {
    // children there are known by another id of their Redis, or by their connections
    queues.push(complete(await readQueue(client, name), db, [], connections));
  }
  return queues;
}

function complete(
  facts: QueueFacts,
  db: number,
  workers: QueueScan['workers'],
  connections: Connections | null,
): ScannedQueue {
  const { queue, prefix } = facts;
  const takers = workers
    .filter((worker) => worker.here && worker.queue === queue && worker.prefix === prefix)
    .map(({ taker }) => taker);
  const connectedWorkers = connections && (connections.get(connectionKey(db, { queue, prefix })) ?? 0);
  return { ...facts, db, takers, connectedWorkers };
}

function workersOf(masters: readonly MasterRecord[], redisId: string): QueueScan['workers'] {
  return masters
    .filter(({ stale }) => !stale)
    .flatMap((master) =>
      master.children.flatMap((child) =>
        child.workers.map(({ queue, prefix, redisId: id }) => {
          return { queue, prefix, here: id === redisId, taker: { child, master } };
        }),
      ),
    );
}

/** `prefix:queue:meta`; a prefix may have colons, a queue has none. */
function queueOfKey(key: string): QueueName[] {
  const parts = key.split(':');
  const [last = '', queue = ''] = [parts.pop(), parts.pop()];
  const prefix = parts.join(':');
  return (last === 'meta' || last === 'wait') && queue !== '' && prefix !== '' ? [{ queue, prefix }] : [];
}

function nameOf({ queue, prefix }: QueueName): QueueName {
  return { queue, prefix };
}

function unique(names: readonly QueueName[]): QueueName[] {
  return [...new Map(names.map((name) => [`${name.prefix}:${name.queue}`, name])).values()];
}

async function scan(
  client: RedisClient,
  pattern: string,
  untilMs: number,
): Promise<{ found: string[]; whole: boolean }> {
  const nodes = client.isCluster ? (client as Cluster).nodes('master') : [client as Redis];
  const found = new Set<string>();
  for (const node of nodes) {
    for (let cursor = '0'; ; ) {
      const [next, keys] = await node.scan(cursor, 'MATCH', pattern, 'COUNT', SCAN_COUNT);
      for (const key of keys) found.add(key);
      if (next === '0') break;
      if (performance.now() > untilMs) return { found: [...found], whole: false };
      cursor = next;
    }
  }
  return { found: [...found], whole: true };
}

async function otherDatabases(client: Redis, own: number): Promise<number[]> {
  const info = parseInfo(await client.info('keyspace'));
  return [...info.keys()]
    .flatMap((name) => /^db(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number)
    .filter((db) => db !== own);
}

/** Workers by database and the name of their blocking connection. */
type Connections = ReadonlyMap<string, number>;

async function listConnections(client: RedisClient): Promise<Connections | null> {
  const nodes = client.isCluster ? (client as Cluster).nodes('master') : [client as Redis];
  const counts = new Map<string, number>();
  for (const node of nodes) {
    const list = await clientList(node);
    if (list === null) return null;
    for (const line of list.split('\n')) {
      // BullMQ's name for it; a Worker that has a name of its own adds it
      const name = / name=(\S+)/.exec(line)?.[1]?.replace(/:w:.*$/, '');
      const db = / db=(\d+)/.exec(line)?.[1];
      if (name === undefined || db === undefined) continue;
      const key = `${db} ${name}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
  }
  return counts;
}

export async function clientList(node: Redis): Promise<string | null> {
  try {
    return String(await node.client('LIST'));
  } catch (error) {
    if (error instanceof Error && error.name === 'ReplyError') return null;
    throw error;
  }
}

function connectionKey(db: number, { queue, prefix }: QueueName): string {
  return `${db} ${prefix}:${Buffer.from(queue).toString('base64')}`;
}
