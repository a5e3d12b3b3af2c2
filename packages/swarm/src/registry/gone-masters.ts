/**
 * Masters that were killed on the host that reads: a kill leaves no word, and by its beat such a master would seem to run
 * for as long as an entry may be old. Where its pid means something the kernel knows it at once, and it is stale from then on.
 *
 * A doubt is in favour of the beat: another host, boot or pid namespace, or one of them unknown. So a container
 * that has this one's name is never judged by pids that are not its own.
 */
import { isSameProcess, rawHostName, readBootId, readPidNamespace } from '../process/proc.js';
import { findPredecessors, type HostPlace } from './predecessors.js';
import { type RegistryClient, type RegistrySnapshot, readSnapshot, type SnapshotOptions } from './reader.js';
import type { MasterRecord } from './schema.js';

export interface Here {
  place: HostPlace;
  /** Given the pid and the start time (clock ticks, null if unknown) of a master's process. */
  isGone(pid: number, startTicks: number | null): boolean;
}

/** Pure but for `here`: identities of masters that are not stale by their beat, and whose process is gone. */
export function goneHere(masters: readonly MasterRecord[], { place, isGone }: Here): Set<string> {
  if (place.pidNamespace === null) return new Set();
  const beating = masters.filter(({ stale }) => !stale);
  return new Set(findPredecessors(beating, place, isGone).map(({ identity }) => identity));
}

/** Pure. */
export function markGone(snapshot: RegistrySnapshot, gone: ReadonlySet<string>): RegistrySnapshot {
  const masters = snapshot.masters.map((master) =>
    gone.has(master.identity) ? { ...master, stale: true } : master,
  );
  return { ...snapshot, masters };
}

/** A snapshot in which masters that are gone from this host are stale as well; rejects as `readSnapshot` does. */
export async function readSnapshotHere(
  client: RegistryClient,
  namespace: string,
  options: SnapshotOptions = {},
  here: Here = thisHost(),
): Promise<RegistrySnapshot> {
  const snapshot = await readSnapshot(client, namespace, options);
  const gone = goneHere(snapshot.masters, here);
  if (gone.size === 0) return snapshot;
  // who ends as told takes its entry away before it goes: what was read may be older than that
  return markGone(await readSnapshot(client, namespace, options), gone);
}

function thisHost(): Here {
  return {
    place: { host: rawHostName(), bootId: readBootId(), pidNamespace: readPidNamespace() },
    isGone: (pid, startTicks) => !isSameProcess(pid, startTicks),
  };
}
