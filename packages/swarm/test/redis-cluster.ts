/** A real Redis Cluster for a test: three primaries on loopback. */
import { Cluster, Redis } from 'ioredis';
import { startRedis, type TestRedis, until } from './redis-server.js';

export interface TestCluster {
  ports: number[];
  client: Cluster;
  stop(): Promise<void>;
}

const SLOTS = 16_384;
const NODES = 3;

export async function startCluster(): Promise<TestCluster> {
  const servers: TestRedis[] = [];
  const admins: Redis[] = [];
  const stop = async (): Promise<void> => {
    for (const admin of admins) admin.disconnect();
    await Promise.all(servers.map((server) => server.stop()));
  };
  try {
    for (let at = 0; at < NODES; at += 1) {
      const server = await startRedis({
        args: ['--cluster-enabled', 'yes', '--cluster-node-timeout', '5000'],
      });
      servers.push(server);
      const admin = new Redis({ port: server.port });
      admins.push(admin);
      const first = Math.ceil((SLOTS * at) / NODES);
      const last = Math.ceil((SLOTS * (at + 1)) / NODES) - 1;
      // one by one, as Redis 6.2 takes them
      const slots = Array.from({ length: last - first + 1 }, (_, slot) => String(first + slot));
      await admin.call('CLUSTER', 'ADDSLOTS', ...slots);
      const [known] = servers;
      if (known && known !== server) await admin.call('CLUSTER', 'MEET', '127.0.0.1', String(known.port));
    }
    for (const admin of admins) {
      const isOk = async (): Promise<boolean> => {
        const info = String(await admin.call('CLUSTER', 'INFO'));
        return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${NODES}`);
      };
      await until(isOk, 'the cluster is whole', 30_000);
    }
    const ports = servers.map(({ port }) => port);
    const client = new Cluster(ports.map((port) => ({ host: '127.0.0.1', port })));
    return {
      ports,
      client,
      async stop() {
        client.disconnect();
        await stop();
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
