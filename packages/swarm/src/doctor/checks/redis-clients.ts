/**
 * Are there enough connections: for those that are open, and for a roll, when old and new children overlap? What a
 * child has is measured where it runs on this host; elsewhere it is reckoned from its Workers.
 */
import { connectionsTo } from '../../process/connections.js';
import { endpointsOf } from '../../redis/endpoints.js';
import { addressOf, redisIdOf } from '../../redis/url.js';
import type { ChildRecord } from '../../registry/schema.js';
import { defineCheck, NotLookedAt, plural, type Verdict } from '../check.js';
import { countOf } from '../fleet.js';
import { numberOf } from '../servers.js';

export interface ClientsFacts {
  maxClients: number;
  connected: number;
  /** Connections that were refused since Redis started. */
  rejected: number;
  masters: number;
  /** Children that run. */
  children: number;
  /** Of one child, the most, by its Workers. */
  reckonedPerChild: number;
  /** Of one child, the most, of those on this host; null: none is, or it cannot be seen. */
  measuredPerChild: number | null;
  /** Children that the configuration here would start; 0 where its master runs. */
  toCome: number;
}

/** One for the registry, one that waits for commands. */
const MASTER_CONNECTIONS = 2;
/** A BullMQ Worker has one for its commands and one that blocks; if several share a client, only the latter. */
const WORKER_CONNECTIONS = 2;
/** Beyond it, a roll or a deploy that overlaps may find no room. */
const TIGHT = 0.8;

export const redisClients = defineCheck<ClientsFacts>({
  name: 'redis-clients',
  section: 'Redis',
  async gather(exam) {
    const { client, target } = await exam.redis();
    const servers = await exam.servers();
    const maxima = servers.flatMap((server) => numberOf(server, 'maxclients') ?? []);
    if (maxima.length === 0) throw new NotLookedAt('this Redis does not say how many clients it allows');
    const most = (name: string) => Math.max(0, ...servers.map((server) => numberOf(server, name) ?? 0));
    const { masters } = await exam.snapshot();
    const living = masters.filter(({ stale }) => !stale);
    const children = living.flatMap((master) => master.children);
    const own = await exam.ownMasters();
    const pids = own.flatMap((master) => master.children.map(({ pid }) => pid));
    const counted = pids.length > 0 ? connectionsTo(pids, endpointsOf(client)) : null;
    const [configured] = await exam.fleets();
    const redisId = redisIdOf(addressOf(target));
    return {
      maxClients: Math.min(...maxima),
      connected: most('connected_clients'),
      rejected: most('rejected_connections'),
      masters: living.length,
      children: children.length,
      reckonedPerChild: Math.max(0, ...children.map((child) => reckon(child, redisId))),
      measuredPerChild: counted && Math.max(0, ...counted.values()),
      toCome: own.length > 0 || !configured ? 0 : countOf(configured),
    };
  },
  judge: judgeClients,
});

function reckon({ workers }: ChildRecord, redisId: string): number {
  return workers.filter((worker) => worker.redisId === redisId).length * WORKER_CONNECTIONS;
}

export function judgeClients(facts: ClientsFacts): Verdict {
  const { maxClients, connected, rejected, masters, children, measuredPerChild, toCome } = facts;
  const perChild = measuredPerChild ?? facts.reckonedPerChild;
  const isMeasured = measuredPerChild !== null;
  const inAll = masters * MASTER_CONNECTIONS + children * perChild;
  const fleet =
    children > 0
      ? `; ${plural(masters, 'master')} and ${plural(children, 'child', 'children')} have about ${inAll}, ${perChild} a child (${isMeasured ? 'measured' : 'by their Workers'})`
      : '';
  // in a roll each master has one child more
  const newcomers = toCome > 0 ? MASTER_CONNECTIONS + toCome * Math.max(WORKER_CONNECTIONS, perChild) : 0;
  const more = masters * perChild + newcomers;
  const coming = newcomers > 0 ? `; the configuration here adds about ${newcomers}` : '';
  const found = `${connected} of ${maxClients} connections are in use${fleet}${coming}`;
  const refused =
    rejected > 0
      ? [`${plural(rejected, 'connection was', 'connections were')} refused since Redis started`]
      : [];
  if (connected + more <= maxClients * TIGHT) return { status: 'ok', found, details: refused };
  return {
    status: connected + more > maxClients ? 'fail' : 'warn',
    found,
    details: refused,
    why: 'A Redis that has no connection left refuses the next one: children do not start, and those that lose theirs do not come back (ERR max number of clients reached)',
    cure: [
      'raise maxclients of Redis, and its limit of open files with it, or take a larger plan',
      'fewer children with more jobs at once each (--count, --concurrency)',
      'give the Workers of a program one shared ioredis instance; an app of defineApp() has one for all of its queues',
      'CLIENT LIST shows who else is connected',
    ],
  };
}
