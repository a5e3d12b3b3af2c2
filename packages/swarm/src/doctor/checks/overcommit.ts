/** Does the kernel promise memory that is not there? A Redis beside us needs that to save, and forks of large processes as well. */

import { formatBytes } from '../../units.js';
import { defineCheck, NotLookedAt, type Verdict } from '../check.js';

export interface OvercommitFacts {
  /** 0: by a guess, 1: always, 2: never more than there is. */
  mode: number;
  /** Of a Redis on this host, what it has in use; null: there is none. */
  redisBytes: number | null;
  availableBytes: number | null;
}

export const overcommit = defineCheck<OvercommitFacts>({
  name: 'overcommit',
  section: 'Machine',
  async gather(exam) {
    const { machine } = exam;
    const mode = machine.readNumber('/proc/sys/vm/overcommit_memory');
    if (mode === null) throw new NotLookedAt('the kernel does not say how it commits memory');
    return { mode, redisBytes: await redisHere(), availableBytes: machine.memory('MemAvailable') };

    async function redisHere(): Promise<number | null> {
      try {
        const { target } = await exam.connection();
        const isLocal =
          target.kind === 'unix' || (target.kind === 'single' && /^(localhost|127\.|::1)/.test(target.host));
        const [server] = isLocal ? await exam.servers() : [];
        return server ? Number(server.info.get('used_memory') ?? 0) : null;
      } catch {
        return null;
      }
    }
  },
  judge: judgeOvercommit,
});

export function judgeOvercommit({ mode, redisBytes, availableBytes }: OvercommitFacts): Verdict {
  const cure = ['sysctl vm.overcommit_memory=1, and the same in /etc/sysctl.conf'];
  const isLarge = redisBytes !== null && availableBytes !== null && redisBytes > availableBytes / 2;
  if (mode === 2) {
    return {
      status: 'warn',
      found: 'vm.overcommit_memory is 2: the kernel promises no memory that is not there',
      why: 'Node reserves much more address space than it uses, and a fork asks for as much again as the process has: children do not start (ENOMEM) although there is memory, and a Redis cannot save',
      cure,
    };
  }
  if (mode === 0 && isLarge) {
    return {
      status: 'warn',
      found: `vm.overcommit_memory is 0, and the Redis here has ${formatBytes(redisBytes)} in use, with ${formatBytes(availableBytes)} to be had`,
      why: 'Redis forks to save. The kernel may refuse that for want of memory for a copy that is never made, and then Redis refuses writes (MISCONF)',
      cure,
    };
  }
  const redis =
    redisBytes === null ? '' : mode === 0 ? '; 1 is better for the Redis on this host once it is large' : '';
  return { status: 'ok', found: `vm.overcommit_memory is ${mode}${redis}` };
}
