/**
 * Says once, when all children are up for the first time, how many connections to Redis this fleet has, and
 * whether there is room for more: "max number of clients reached" comes later, at the first roll or from the web
 * processes, and is hard to read there.
 */
import type { Logger } from '../log.js';
import { connectionsTo } from '../process/connections.js';
import type { RedisClient } from '../redis/connect.js';
import { type ClientCounts, clientCounts, endpointsOf } from '../redis/endpoints.js';
import type { MasterView, Onlooker } from './onlookers.js';

/** Of a child, before anybody has looked: what it blocks on, and what it asks with. */
export const USUAL_CONNECTIONS = 2;
/** Some are opened with the first job. */
const SETTLED_AFTER_MS = 2_000;
/** Nobody can count the connections to a unix socket. */
const MAX_TRIES = 10;

export interface FleetConnections {
  children: number;
  /** Of the child that has most. */
  perChild: number;
  master: number;
  inAll: number;
}

export class Connections implements Onlooker {
  readonly #client: RedisClient;
  readonly #log: Logger;
  #timer: NodeJS.Timeout | null = null;
  #triesLeft = MAX_TRIES;

  constructor(client: RedisClient, log: Logger) {
    this.#client = client;
    this.#log = log;
  }

  ticked(view: MasterView): void {
    const { slots, phase } = view.state;
    if (this.#timer || phase !== 'running' || !slots.every(({ state }) => state === 'up')) return;
    this.#timer = setTimeout(() => void this.#say(view), SETTLED_AFTER_MS);
    this.#timer.unref();
  }

  close(): void {
    if (this.#timer) clearTimeout(this.#timer);
  }

  async #say({ children }: MasterView): Promise<void> {
    const endpoints = endpointsOf(this.#client);
    if (endpoints.length === 0 && --this.#triesLeft > 0) {
      // Redis is away just now; at the next tick it is tried again
      this.#timer = null;
      return;
    }
    const pids = children.filter(({ state }) => state === 'up').map(({ pid }) => pid);
    const fleet = fleetConnections(connectionsTo([process.pid, ...pids], endpoints), pids);
    if (!fleet || endpoints.length === 0) return;
    const counts = await clientCounts(this.#client).catch(() => ({ connected: null, max: null }));
    const { perChild, master, inAll } = fleet;
    this.#log.info('connections to Redis', {
      children: fleet.children,
      per_child: perChild,
      master,
      in_all: inAll,
      queues: perChild === 0 ? 'on another Redis' : undefined,
      connected: counts.connected ?? undefined,
      maxclients: counts.max ?? undefined,
    });
    const warning = tooFewClients(fleet, counts);
    if (warning) this.#log.warn(warning, { code: 'SWARM_REDIS_FEW_CLIENTS' });
  }
}

/** @param counted by pid, this process's among them; null: nobody can tell */
export function fleetConnections(
  counted: ReadonlyMap<number, number> | null,
  pids: readonly number[],
): FleetConnections | null {
  if (!counted || pids.length === 0) return null;
  const own = pids.map((pid) => counted.get(pid) ?? 0);
  const all = [...counted.values()].reduce((sum, count) => sum + count, 0);
  const children = own.reduce((sum, count) => sum + count, 0);
  return { children: pids.length, perChild: Math.max(...own), master: all - children, inAll: all };
}

/** A roll has one child more than usual. null: there is room, or nobody says. */
export function tooFewClients(
  { perChild, inAll }: FleetConnections,
  { connected, max }: ClientCounts,
): string | null {
  if (connected === null || max === null || max - connected >= perChild) return null;
  return (
    `Redis has ${connected} of at most ${max} connections, ${inAll} of them from here: a replacement needs ${perChild} more, ` +
    'and would be refused; raise maxclients (or the plan), run fewer children, or give Workers of a child one shared connection'
  );
}
