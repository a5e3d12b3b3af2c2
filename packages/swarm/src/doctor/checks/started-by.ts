/** Who is above the master: npm, which does not pass signals on; or nobody, because it is PID 1. */
import { basename } from 'node:path';
import { defineCheck, NotLookedAt, type Problem, type Verdict, verdictOf } from '../check.js';
import type { Machine } from '../machine.js';

export interface StartedByFacts {
  masters: readonly {
    pid: number /** Command lines, the nearest first. */;
    ancestors: readonly string[][];
    zombies: number;
  }[];
}

const MAX_ANCESTORS = 6;
const RUNNERS = ['npm', 'npx', 'yarn', 'pnpm'];

export const startedBy = defineCheck<StartedByFacts>({
  name: 'started-by',
  section: 'Machine',
  async gather(exam) {
    const masters = await exam.ownMasters();
    if (masters.length === 0) throw new NotLookedAt('no master runs on this host');
    return { masters: masters.map(({ pid }) => factsOf(exam.machine, pid)) };
  },
  judge: judgeStartedBy,
});

function factsOf(machine: Machine, pid: number): StartedByFacts['masters'][number] {
  const ancestors: string[][] = [];
  for (
    let above = machine.parentOf(pid);
    above && ancestors.length < MAX_ANCESTORS;
    above = machine.parentOf(above)
  ) {
    ancestors.push(machine.commandLine(above));
  }
  const orphans = machine.pids.filter((each) => {
    const stat = pid === 1 ? machine.stat(each) : null;
    return stat?.state === 'Z' && stat.ppid === 1;
  });
  return { pid, ancestors, zombies: orphans.length };
}

export function judgeStartedBy({ masters }: StartedByFacts): Verdict {
  const problems = masters.flatMap(({ pid, ancestors, zombies }): Problem[] => {
    if (pid === 1) {
      const left = zombies > 0 ? `, and ${zombies} dead processes are left already` : '';
      return [
        {
          status: 'warn',
          found: `swarm is PID 1 here, which Node cannot be for long${left}`,
          cure: 'an init in front of it: docker run --init, ENTRYPOINT ["tini", "--"], or shareProcessNamespace: true in Kubernetes',
        },
      ];
    }
    const runner = ancestors.map(runnerIn).find((name) => name !== null);
    if (!runner) return [];
    return [
      {
        status: 'warn',
        found: `the master (pid ${pid}) was started by ${runner}`,
        cure: 'name swarm itself where it is started: node_modules/.bin/swarm in the Procfile, unit, image or pm2 file',
      },
    ];
  });
  const why = masters.some(({ pid }) => pid === 1)
    ? 'PID 1 has to take leave of every process whose parent is gone. Node does that for its own children alone, so each process that a job leaves behind stays as a zombie, until no new one can be started'
    : 'npm and its like do not pass TERM on dependably: a stop or deploy leaves swarm running, or kills it in the middle of its jobs';
  return verdictOf(problems, 'by what passes signals on', why);
}

/** `npm run start` shows as a title of its own, or as node with npm's script. */
function runnerIn(words: readonly string[]): string | null {
  const names = words.slice(0, 2).flatMap((word) => [basename(word), ...word.split(' ').slice(0, 1)]);
  const named = names.map((name) => name.replace(/(-cli)?\.(c?js|mjs)$/, ''));
  return RUNNERS.find((runner) => named.includes(runner)) ?? null;
}
