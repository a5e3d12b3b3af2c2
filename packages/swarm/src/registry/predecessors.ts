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
  if (self.bootId === null) return [];
  return masters.filter(
    ({ info }) =>
      info.host === self.host &&
      info.bootId === self.bootId &&
      info.pidNamespace === self.pidNamespace &&
      isGone(info.pid, info.pidStartTicks),
  );
}
