/** Does the kernel kill the whole container with one child? */
import { defineCheck, listed, NotLookedAt, type Verdict } from '../check.js';

export interface OomGroupFacts {
  /** `memory.oom.group` files that say 1. */
  files: readonly string[];
}

export const oomGroup = defineCheck<OomGroupFacts>({
  name: 'oom-group',
  section: 'Machine',
  async gather(exam) {
    const found = (await exam.fleets()).map(({ pid }) => exam.machine.oomGroups(pid ?? 'self'));
    const known = found.filter((files) => files !== null);
    if (known.length === 0) throw new NotLookedAt('no cgroup of version 2 with memory around it');
    return { files: [...new Set(known.flat())] };
  },
  judge: judgeOomGroup,
});

export function judgeOomGroup({ files }: OomGroupFacts): Verdict {
  if (files.length === 0) return { status: 'ok', found: 'the kernel takes one process, not all' };
  return {
    status: 'warn',
    found: `the kernel kills all processes at once: ${listed(files)} is 1`,
    why: 'When one child goes over the limit, the master and all other children die with it, in the middle of their jobs (Kubernetes sets this for every container)',
    cure: [
      'keep below the limit: --max-memory, so that count × limit and 200 MB for the master fit into it',
      'Kubernetes: several small pods lose less than a large one; singleProcessOOMKill: true of the kubelet (1.32 and newer) turns it off',
    ],
  };
}
