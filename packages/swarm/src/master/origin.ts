/** What every record about a child says of where it comes from: deaths, inherited or not, and dumps. Pure. */
import type { DeathRecord } from '../death.js';
import type { MasterInfo } from '../registry/schema.js';

type OfMaster = Pick<MasterInfo, 'identity' | 'host' | 'tag' | 'node'>;
type OfChild = Pick<DeathRecord, 'identity' | 'slot' | 'group' | 'pid' | 'generation'>;

export type Origin = OfChild & Pick<DeathRecord, 'master' | 'host' | 'tag' | 'node'>;

export function originOf({ identity: master, host, tag, node }: OfMaster, child: OfChild): Origin {
  const { identity, slot, group, pid, generation } = child;
  return { identity, master, host, tag, slot, group, pid, generation, node };
}
