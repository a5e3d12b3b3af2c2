/** Real Redis servers that belong together: a primary with a replica and three sentinels, a cluster of three shards. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Cluster, Redis } from 'ioredis';
import { freePort } from './redis.js';
import { waitFor } from './wait.js';

const HOST = '127.0.0.1';
const SLOTS = 16_384;
/** A node of a cluster also listens 10,000 ports higher. */
const HIGHEST_CLUSTER_PORT = 55_000;
const MASTER_NAME = 'mymaster';

interface Server {
  port: number;
  client: Redis;
  kill(): Promise<void>;
}

class Servers {
  readonly #processes: ChildProcess[] = [];
  readonly #clients: Redis[] = [];
  readonly #directories: string[] = [];
  readonly #killAtExit = (): void => {
    for (const child of this.#processes) child.kill('SIGKILL');
    for (const directory of this.#directories) rmSync(directory, { recursive: true, force: true });
  };

  constructor() {
    process.once('exit', this.#killAtExit);
  }

  async start(port: number, args: readonly string[], config: readonly string[] = []): Promise<Server> {
    const directory = await mkdtemp(join(tmpdir(), 'swarm-redis-'));
    this.#directories.push(directory);
    const file = join(directory, 'redis.conf');
    const common = [`port ${port}`, `bind ${HOST}`, `dir ${directory}`, ...config];
    await writeFile(file, `${common.join('\n')}\n`);
    const child = spawn('redis-server', [file, ...args], { stdio: 'ignore' });
    this.#processes.push(child);
    const client = new Redis({ host: HOST, port, maxRetriesPerRequest: null, retryStrategy: () => 50 });
    client.on('error', () => {});
    this.#clients.push(client);
    await waitFor(`redis-server answers on ${port}`, async () => {
      if (child.exitCode !== null) throw new Error(`redis-server ended with ${child.exitCode}`);
      return (await client.ping()) === 'PONG';
    });
    return {
      port,
      client,
      async kill() {
        const exited = once(child, 'exit');
        child.kill('SIGKILL');
        await exited;
      },
    };
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.disconnect();
    const living = this.#processes.filter(
      ({ exitCode, signalCode }) => exitCode === null && signalCode === null,
    );
    await Promise.all(
      living.map(async (child) => {
        const exited = once(child, 'exit');
        child.kill('SIGKILL');
        await exited;
      }),
    );
    process.off('exit', this.#killAtExit);
    await Promise.all(this.#directories.map((directory) => rm(directory, { recursive: true, force: true })));
  }
}

export interface SentinelFleet {
  /** Of `--redis`. */
  url: string;
  /** For ioredis, and so for BullMQ. */
  connection: { sentinels: { host: string; port: number }[]; name: string };
  /** Kills the primary once its replica has all of it; resolves to how long it took until there was another. */
  failOver(): Promise<number>;
  close(): Promise<void>;
}

export async function startSentinels(): Promise<SentinelFleet> {
  const servers = new Servers();
  try {
    const memory = ['save ""', 'appendonly no'];
    const primary = await servers.start(await freePort(), [], memory);
    const replica = await servers.start(
      await freePort(),
      [],
      [...memory, `replicaof ${HOST} ${primary.port}`, 'repl-diskless-sync-delay 0'],
    );
    await waitFor('the replica follows', async () =>
      /master_link_status:up/.test(await replica.client.info('replication')),
    );
    const sentinels: Server[] = [];
    for (let at = 0; at < 3; at += 1) {
      sentinels.push(
        await servers.start(
          await freePort(),
          ['--sentinel'],
          [
            `sentinel monitor ${MASTER_NAME} ${HOST} ${primary.port} 2`,
            `sentinel down-after-milliseconds ${MASTER_NAME} 1000`,
            `sentinel failover-timeout ${MASTER_NAME} 6000`,
          ],
        ),
      );
    }
    const masterOf = async ({ client }: Server): Promise<Map<string, string>> =>
      pairs((await client.call('SENTINEL', 'MASTER', MASTER_NAME)) as unknown);
    await waitFor('the sentinels know each other and the replica', async () => {
      const known = await Promise.all(sentinels.map(masterOf));
      return known.every(
        (facts) => facts.get('num-other-sentinels') === '2' && facts.get('num-slaves') === '1',
      );
    });
    const hosts = sentinels.map(({ port }) => ({ host: HOST, port }));
    return {
      url: `redis+sentinel://${hosts.map(({ host, port }) => `${host}:${port}`).join(',')}/${MASTER_NAME}`,
      connection: { sentinels: hosts, name: MASTER_NAME },
      async failOver() {
        await primary.client.wait(1, 5_000);
        const startedAtMs = performance.now();
        await primary.kill();
        await waitFor('the replica is the primary', async () =>
          /role:master/.test(await replica.client.info('replication')),
        );
        await waitFor('all sentinels say so', async () => {
          const known = await Promise.all(sentinels.map(masterOf));
          return known.every((facts) => facts.get('port') === String(replica.port));
        });
        return Math.round(performance.now() - startedAtMs);
      },
      close: () => servers.close(),
    };
  } catch (error) {
    await servers.close();
    throw error;
  }
}

/** A map in RESP3, a flat array before. */
function pairs(reply: unknown): Map<string, string> {
  if (reply instanceof Map) return new Map([...reply].map(([name, value]) => [String(name), String(value)]));
  if (!Array.isArray(reply)) return new Map(Object.entries(reply as Record<string, string>));
  return new Map(
    reply.flatMap((name, at) => (at % 2 === 0 ? [[String(name), String(reply[at + 1])]] : [])) as [
      string,
      string,
    ][],
  );
}

export interface ClusterFleet {
  url: string;
  nodes: { host: string; port: number }[];
  client: Cluster;
  close(): Promise<void>;
}

export async function startCluster(): Promise<ClusterFleet> {
  const servers = new Servers();
  try {
    const nodes: Server[] = [];
    for (let at = 0; at < 3; at += 1) {
      nodes.push(
        await servers.start(
          await lowPort(),
          [],
          ['save ""', 'cluster-enabled yes', 'cluster-node-timeout 2000'],
        ),
      );
    }
    const [first] = nodes;
    for (const [at, { client }] of nodes.entries()) {
      const slots = Array.from({ length: SLOTS }, (_, slot) => slot).filter(
        (slot) => Math.floor((slot * 3) / SLOTS) === at,
      );
      await client.call('CLUSTER', 'ADDSLOTS', ...slots.map(String));
      await client.call('CLUSTER', 'SET-CONFIG-EPOCH', String(at + 1));
      if (at > 0) await client.call('CLUSTER', 'MEET', HOST, String(first?.port));
    }
    await waitFor('the cluster is whole', async () => {
      const infos = await Promise.all(nodes.map(({ client }) => client.call('CLUSTER', 'INFO')));
      return infos.every(
        (info) => /cluster_state:ok/.test(String(info)) && /cluster_known_nodes:3/.test(String(info)),
      );
    });
    const hosts = nodes.map(({ port }) => ({ host: HOST, port }));
    const client = new Cluster(hosts);
    client.on('error', () => {});
    return {
      url: `redis+cluster://${hosts.map(({ host, port }) => `${host}:${port}`).join(',')}`,
      nodes: hosts,
      client,
      async close() {
        client.disconnect();
        await servers.close();
      },
    };
  } catch (error) {
    await servers.close();
    throw error;
  }
}

async function lowPort(): Promise<number> {
  for (;;) {
    const port = await freePort();
    if (port < HIGHEST_CLUSTER_PORT) return port;
  }
}
