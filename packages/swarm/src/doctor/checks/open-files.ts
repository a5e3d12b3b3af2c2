/** Are there enough file descriptors, for the master and for each child? */
import { defineCheck, NotLookedAt, type Problem, type Verdict, verdictOf } from '../check.js';
import type { Machine } from '../machine.js';

export interface OpenFilesFacts {
  processes: readonly OpenFiles[];
}

export interface OpenFiles {
  who: string;
  /** Infinity: any number. */
  limit: number;
  /** null: not to be seen. */
  open: number | null;
}

/** Sockets of jobs, files, pipes: what a program may need at a busy time. */
const FEW = 1_024;
const NEARLY = 0.8;

export const openFiles = defineCheck<OpenFilesFacts>({
  name: 'open-files',
  section: 'Machine',
  async gather(exam) {
    const { machine } = exam;
    const processes: OpenFiles[] = [];
    for (const { pid, children } of await exam.fleets()) {
      if (pid === null) processes.push(...lookAt(machine, 'what is started from here', 'self'));
      else processes.push(...lookAt(machine, `the master (pid ${pid})`, pid));
      for (const child of children) {
        processes.push(...lookAt(machine, `slot ${child.slot} (pid ${child.pid})`, child.pid));
      }
    }
    if (processes.length === 0) throw new NotLookedAt('limits of processes cannot be read here');
    return { processes };
  },
  judge: judgeOpenFiles,
});

function lookAt(machine: Machine, who: string, pid: number | 'self'): OpenFiles[] {
  const limit = machine.softLimit(pid, 'Max open files');
  const open = pid === 'self' ? null : machine.openFiles(pid);
  return limit === null ? [] : [{ who, limit, open }];
}

export function judgeOpenFiles({ processes }: OpenFilesFacts): Verdict {
  const problems = processes.flatMap((each) => problemOf(each) ?? []);
  const least = Math.min(...processes.map(({ limit }) => limit));
  const most = Math.max(0, ...processes.map(({ open }) => open ?? 0));
  const limit = least === Number.POSITIVE_INFINITY ? 'no limit' : `a limit of ${least}`;
  const why =
    'A process that has used them up can open no connection, no file and start no process (EMFILE): its jobs fail, and a master cannot replace a child';
  return verdictOf(problems, `up to ${most} open, ${limit}`, why);
}

function problemOf({ who, limit, open }: OpenFiles): Problem | null {
  const cure =
    'ulimit -n 65536 before swarm starts, LimitNOFILE=65536 in a systemd unit, --ulimit nofile=65536 of docker run';
  if (open !== null && open > limit * NEARLY) {
    return {
      status: 'fail',
      found: `${who} has ${open} of ${limit} files and sockets open`,
      cure: `${cure}; if their number only grows, it is a leak: ls -l /proc/<pid>/fd`,
    };
  }
  if (limit >= FEW) return null;
  return { status: 'warn', found: `${who} may have no more than ${limit} files and sockets open`, cure };
}
