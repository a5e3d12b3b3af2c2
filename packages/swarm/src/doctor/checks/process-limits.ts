/** May as many processes and threads be started as a roll needs? */
import { defineCheck, NotLookedAt, type Problem, type Verdict, verdictOf } from '../check.js';
import { countOf } from '../fleet.js';

export interface ProcessLimitsFacts {
  fleets: readonly {
    name: string;
    count: number;
    isRunning: boolean;
    /** Threads of one child. */
    threads: number;
    limit: { value: number; current: number | null; file: string } | null;
  }[];
}

/** Node's, V8's, the pool's, and the watchdog. */
const USUAL_THREADS = 12;
const NEARLY = 0.9;

export const processLimits = defineCheck<ProcessLimitsFacts>({
  name: 'process-limits',
  section: 'Machine',
  async gather(exam) {
    const { machine } = exam;
    const fleets = (await exam.fleets()).map((fleet) => {
      const threads = fleet.children.flatMap(({ pid }) => machine.threads(pid) ?? []);
      return {
        name: fleet.name,
        count: countOf(fleet),
        isRunning: fleet.pid !== null,
        threads: Math.max(USUAL_THREADS, ...threads),
        limit: machine.pidsLimit(fleet.pid ?? 'self'),
      };
    });
    if (fleets.every(({ limit }) => limit === null)) throw new NotLookedAt('no cgroup limits processes here');
    return { fleets };
  },
  judge: judgeProcessLimits,
});

export function judgeProcessLimits({ fleets }: ProcessLimitsFacts): Verdict {
  const problems = fleets.flatMap(({ name, count, isRunning, threads, limit }): Problem[] => {
    if (!limit) return [];
    const current = limit.current ?? 0;
    // those that run are counted already; a roll adds one, and jobs start what they start
    const needed = current + (isRunning ? 2 : count + 1) * threads;
    if (needed <= limit.value * NEARLY) return [];
    return [
      {
        status: needed > limit.value ? 'fail' : 'warn',
        found: `${name}: ${current} of ${limit.value} processes and threads are there (${limit.file}), and a child has ${threads}`,
        cure: 'a higher limit: TasksMax= in a systemd unit, --pids-limit of docker run, podPidsLimit of the kubelet; or fewer children (--count)',
      },
    ];
  });
  const limits = fleets.flatMap(({ limit }) => (limit ? [limit.value] : []));
  const fine = `room for more within ${Math.min(...limits)} processes and threads`;
  return verdictOf(
    problems,
    fine,
    'Above the limit no process and no thread can be started (EAGAIN): a child that died is not replaced, and jobs that start processes fail',
  );
}
