/**
 * Connections to Redis: how many a master and a child have by design, and how many a process has open. The second is
 * seen in `/proc`: sockets of the process, and what the kernel's tables of connections say of them.
 */
import type { RedisTarget } from '../redis/url.js';
import type { ChildRecord } from '../registry/schema.js';
import type { Machine } from './machine.js';

/** One for the registry, one that waits for commands. */
export const MASTER_CONNECTIONS = 2;

/** A BullMQ Worker has one for its commands and one that blocks; of several on one shared client, only the latter. */
const WORKER_CONNECTIONS = 2;

/** At most so many, on the Redis with this id: how its Workers share them is not known from outside. */
export function connectionsOfChild({ workers }: ChildRecord, redisId: string): number {
  return workers.filter((worker) => worker.redisId === redisId).length * WORKER_CONNECTIONS;
}

const ESTABLISHED = '01';

/** TCP connections of a process to the ports of this Redis; null: not to be seen. */
export function openTo(machine: Machine, pid: number, target: RedisTarget): number | null {
  if (target.kind === 'unix') return null;
  const ports = new Set(
    (target.kind === 'single' ? [target] : target.kind === 'cluster' ? target.nodes : []).map(
      ({ port }) => port,
    ),
  );
  const sockets = new Set(
    machine.openLinks(pid).flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []),
  );
  // sentinels name the port, and it may change
  if (ports.size === 0 || sockets.size === 0) return null;
  let count = 0;
  for (const table of ['tcp', 'tcp6']) {
    const lines = (machine.read(`/proc/${pid}/net/${table}`) ?? '').split('\n').slice(1);
    for (const line of lines) {
      const [, , remote = '', state, , , , , , inode = ''] = line.trim().split(/\s+/);
      const port = Number.parseInt(remote.split(':')[1] ?? '', 16);
      if (state === ESTABLISHED && ports.has(port) && sockets.has(inode)) count++;
    }
  }
  return count;
}
