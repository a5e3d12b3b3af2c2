/** Are there enough connections: for those that are open, and for a roll, when old and new children overlap? */
import { addressOf, redisIdOf } from '../../redis/url.js';
import type { MasterRecord } from '../../registry/schema.js';
import { defineCheck, NotLookedAt, plural, type Verdict } from '../check.js';
import { connectionsOfChild, MASTER_CONNECTIONS, openTo } from '../connections.js';
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
  /** As reckoned, for those masters and children. */
  reckoned: number;
  /** Of one child, the most. */
  perChild: number;
  /** What children on this host have open to it; null: not to be seen. */
  measured: { children: number; connections: number } | null;
  /** What the configuration here would open, where none of its masters runs; else 0. */
  toCome: number;
}

/** Beyond it, a roll or a deploy that overlaps may find no room. */
const TIGHT = 0.8;

export const redisClients = defineCheck<ClientsFacts>({
  name: 'redis-clients',
  section: 'Redis',
  async gather(exam) {
    const { target } = await exam.redis();
    const servers = await exam.servers();
    const maxima = servers.flatMap((server) => numberOf(server, 'maxclients') ?? []);
    if (maxima.length === 0) throw new NotLookedAt('this Redis does not say how many clients it allows');
    const sum = (name: string) =>
      servers.reduce((most, server) => Math.max(most, numberOf(server, name) ?? 0), 0);
    const { masters } = await exam.snapshot();
    const living = masters.filter(({ stale }) => !stale);
    const redisId = redisIdOf(addressOf(target));
    const each = living.flatMap(({ children }) =>
      children.map((child) => connectionsOfChild(child, redisId)),
    );
    const own = await exam.ownMasters();
    const [configured] = await exam.fleets();
    const perChild = Math.max(0, ...each);
    return {
      maxClients: Math.min(...maxima),
      connected: sum('connected_clients'),
      rejected: sum('rejected_connections'),
      masters: living.length,
      children: each.length,
      reckoned: living.length * MASTER_CONNECTIONS + each.reduce((all, one) => all + one, 0),
      perChild,
      measured: measure(own, (pid) => openTo(exam.machine, pid, target)),
      // how many Workers an app starts is known when it runs
      toCome:
        own.length > 0 || !configured ? 0 : MASTER_CONNECTIONS + countOf(configured) * Math.max(2, perChild),
    };
  },
  judge: judgeClients,
});

function measure(
  masters: readonly MasterRecord[],
  connectionsOf: (pid: number) => number | null,
): ClientsFacts['measured'] {
  const counts = masters.flatMap(({ children }) => children.flatMap(({ pid }) => connectionsOf(pid) ?? []));
  if (counts.length === 0) return null;
  return { children: counts.length, connections: counts.reduce((sum, one) => sum + one, 0) };
}

export function judgeClients(facts: ClientsFacts): Verdict {
  const { maxClients, connected, rejected, masters, children, reckoned, perChild, measured, toCome } = facts;
  const fleet =
    children > 0
      ? `; ${plural(masters, 'master')} and ${plural(children, 'child', 'children')} open about ${reckoned}, up to ${perChild} a child`
      : toCome > 0
        ? `; about ${toCome} more for the configuration here`
        : '';
  const found = `${connected} of ${maxClients} connections are in use${fleet}`;
  const details = measured
    ? [
        `measured on this host: ${plural(measured.children, 'child', 'children')} with ${measured.connections} open`,
      ]
    : [];
  const refused = rejected > 0 ? [`${rejected} connections were refused since Redis started`] : [];
  const perRunning = measured ? Math.max(perChild, measured.connections / measured.children) : perChild;
  // in a roll each master has one child more; after a loss of all links, everybody comes back at once
  const atMost = connected + toCome + Math.ceil(masters * perRunning);
  if (atMost <= maxClients * TIGHT) return { status: 'ok', found, details };
  return {
    status: atMost > maxClients ? 'fail' : 'warn',
    found,
    details: [...details, ...refused],
    why: 'A Redis that has no connection left refuses the next one: children do not start, and those that lose theirs do not come back (ERR max number of clients reached)',
    cure: [
      'raise maxclients of Redis, and its limit of open files with it, or take a larger plan',
      'fewer children with more jobs at once each (--count, --concurrency)',
      'an app of defineApp() has fewer connections than a Worker for each queue; give several Workers of a program one shared ioredis instance',
      'CLIENT LIST shows who else is connected',
    ],
  };
}
