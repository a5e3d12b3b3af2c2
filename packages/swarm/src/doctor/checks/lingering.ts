/** Processes of a master that is gone: they hold jobs, memory and connections, and nobody looks after them. */
import { isAlive } from '../../process/proc.js';
import { programOf } from '../../secrets.js';
import { defineCheck, NotLookedAt, plural, type Verdict } from '../check.js';
import type { Machine } from '../machine.js';

export interface LingeringFacts {
  processes: readonly { pid: number; command: string; master: number; isChild: boolean }[];
}

export const lingering = defineCheck<LingeringFacts>({
  name: 'lingering-processes',
  section: 'Fleet',
  gather: ({ machine }) => {
    const { pids } = machine;
    if (pids.length === 0) throw new NotLookedAt('there is no /proc here');
    return { processes: pids.flatMap((pid) => strayOf(machine, pid) ?? []) };
  },
  judge: judgeLingering,
});

/** Whatever a child starts inherits its environment. */
function strayOf(machine: Machine, pid: number): LingeringFacts['processes'][number] | null {
  const environment = machine.environment(pid);
  const master = Number(environment?.get('SWARM_MASTER_PID') ?? 0);
  if (!environment || master === 0 || isAlive(master) || !isAlive(pid)) return null;
  if (machine.pidNamespace(pid) !== machine.pidNamespace('self')) return null;
  const isChild = environment.has('SWARM_CHILD');
  return { pid, command: programOf(machine.commandLine(pid).join(' ')), master, isChild };
}

export function judgeLingering({ processes }: LingeringFacts): Verdict {
  if (processes.length === 0) return { status: 'ok', found: 'no process on this host has lost its master' };
  const children = processes.filter(({ isChild }) => isChild).length;
  const others = processes.length - children;
  const who = [
    ...(children > 0 ? [plural(children, 'child', 'children')] : []),
    ...(others > 0 ? [plural(others, 'process that a job started', 'processes that jobs started')] : []),
  ];
  return {
    status: 'warn',
    found: `without a master: ${who.join(' and ')}`,
    details: processes
      .slice(0, 10)
      .map(({ pid, command, master }) => `pid ${pid} (of master ${master}): ${command}`),
    why: 'A child whose master was killed finishes its jobs and leaves within its --timeout; what stays longer holds memory and connections, and runs old code',
    cure: [
      'wait for the --timeout of that master, then kill those that are left, by their pids',
      'a job that starts processes must wait for them or end them; those that leave their process group (setsid, daemons) outlive it',
    ],
  };
}
