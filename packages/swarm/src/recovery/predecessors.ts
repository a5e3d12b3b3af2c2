/**
 * Masters that ran on this host before and were killed: what their children held is released by ours.
 * A predecessor's child may outlive it while it drains; only when its process is gone are its jobs free.
 */
import type { Holding } from '../protocol.js';
import type { ChildRecord, MasterRecord } from '../registry/schema.js';
import { holdingsOf } from './holdings.js';

export interface Orphan {
  /** Identity of the predecessor's child. */
  owner: string;
  /** The predecessor. */
  master: string;
  pid: number;
  /** null: the child is known to be gone. */
  pidStartTicks: number | null;
  gone: boolean;
  holdings: Holding[];
  /** As the predecessor last wrote it; null: only what is owed of it is known. */
  left: { master: MasterRecord; child: ChildRecord } | null;
}

/** What the children of `predecessors` may have left behind. Pure. */
export function orphansOf(predecessors: readonly MasterRecord[]): Orphan[] {
  return predecessors.flatMap((master) => [
    // what is owed of a child is more than its record in an empty seat says
    ...master.owed.map(({ owner, holdings }): Orphan => {
      const child = master.children.find(({ identity }) => identity === owner);
      const left = child ? { master, child } : null;
      return { owner, master: master.identity, pid: 0, pidStartTicks: null, gone: true, holdings, left };
    }),
    ...master.children
      .filter(({ identity }) => !isOwed(master, identity))
      .map((child): Orphan => {
        const { identity: owner, pid, pidStartTicks } = child;
        const gone = child.state === 'backoff' || child.state === 'failed';
        return {
          owner,
          master: master.identity,
          pid,
          pidStartTicks,
          gone,
          holdings: holdingsOf(child.workers, child.jobs),
          left: { master, child },
        };
      }),
  ]);
}

function isOwed({ owed }: MasterRecord, identity: string): boolean {
  return owed.some(({ owner }) => owner === identity);
}
