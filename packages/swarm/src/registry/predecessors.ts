/** Which masters of a registry were this host's and are gone without a word. Pure. */
import type { MasterInfo, MasterRecord } from './schema.js';

export type HostPlace = Pick<MasterInfo, 'host' | 'bootId' | 'pidNamespace'>;

/**
 * A pid says something only on the same boot of the same host and in the same pid namespace; where the
 * boot cannot be known, nobody is called gone: host names are reused.
 *
 * `isGone` is given the pid and the start time (clock ticks, null if unknown) of a master's process.
 */
export function findPredecessors(
  masters: readonly MasterRecord[],
  self: HostPlace,
  isGone: (pid: number, startTicks: number | null) => boolean,
): MasterRecord[] {
  return masters.filter(({ info }) => isSamePlace(info, self) && isGone(info.pid, info.pidStartTicks));
}

/** Whether a pid of one means something to the other. */
export function isSamePlace(one: HostPlace, other: HostPlace): boolean {
  return (
    one.bootId !== null &&
    one.host === other.host &&
    one.bootId === other.bootId &&
    one.pidNamespace === other.pidNamespace
  );
}
