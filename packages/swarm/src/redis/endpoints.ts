/** Where the connections of a client of ours lead, and what its servers say of all that they have. */
import type { Cluster, Redis } from 'ioredis';
import type { RedisClient } from './connect.js';
import { numberIn, parseInfo } from './ready.js';

/** TCP only: of a unix socket nobody can tell who is at the other end. */
export function endpointsOf(client: RedisClient): { address: string; port: number }[] {
  return nodesOf(client).flatMap(({ stream }) => {
    const { remoteAddress: address, remotePort: port } = stream as {
      remoteAddress?: string;
      remotePort?: number;
    };
    return address !== undefined && port !== undefined ? [{ address, port }] : [];
  });
}

export interface ClientCounts {
  connected: number | null;
  max: number | null;
}

/** Of the fullest server; all null where it does not say. */
export async function clientCounts(client: RedisClient): Promise<ClientCounts> {
  const counts = await Promise.all(
    nodesOf(client).map(async (node): Promise<ClientCounts> => {
      const info = parseInfo(await node.info('clients'));
      return { connected: numberIn(info, 'connected_clients'), max: numberIn(info, 'maxclients') };
    }),
  );
  const room = ({ connected, max }: ClientCounts): number =>
    connected === null || max === null ? Number.POSITIVE_INFINITY : max - connected;
  return counts.reduce(
    (fullest, each) => (room(each) < room(fullest) ? each : fullest),
    counts[0] ?? { connected: null, max: null },
  );
}

function nodesOf(client: RedisClient): Redis[] {
  return client.isCluster ? (client as Cluster).nodes('master') : [client as Redis];
}
