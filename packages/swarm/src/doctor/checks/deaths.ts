/** How processes ended in the last day, summed up. */
import type { DeathCause, DeathRecord } from '../../death.js';
import { formatDuration } from '../../units.js';
import { defineCheck, listed, plural, type Verdict } from '../check.js';

export interface DeathsFacts {
  /** Of the last day, planned ones left out; the newest first. */
  deaths: readonly Pick<DeathRecord, 'cause' | 'atMs' | 'pid' | 'slot' | 'jobs' | 'evidence'>[];
  nowMs: number;
}

/** The first step for each. */
const CURES: Record<DeathCause, string> = {
  stopped:
    'a child that has to be killed at a stop: give it more time (--timeout), or let its jobs end when their signal aborts',
  rolled:
    'a child that has to be killed in a roll: more time (--timeout), or jobs that end when their signal aborts',
  recycled: 'a child that has to be killed when it is recycled: more time (--timeout)',
  'boot-timeout':
    'a boot that does not end: more time (--boot-timeout), or see what it waits for (its stderr: swarm deaths <pid>)',
  'max-memory-hard':
    'memory: swarm ps --by-job shows which job leaves it behind; a higher --max-memory-hard, fewer jobs at once',
  stuck: 'a loop that does not turn: swarm dumps shows the code; split it, or move it into a worker thread',
  'job-timeout': 'jobs that do not end: swarm dumps shows what they wait for; give requests a timeout',
  'oom-kill':
    'memory: --max-memory below what the machine or container has for each child, so that swarm acts before the kernel does; swarm ps --by-job shows which job it is',
  'heap-oom':
    'the heap was full: swarm heap <child> before it dies, swarm ps --by-job; more heap (--node-arg --max-old-space-size=…) only if it is no leak',
  uncaught:
    'an error that nobody caught: its stack is in swarm deaths <pid>; await or catch every promise that a job starts',
  signal:
    'a signal from outside, or a crash in native code: swarm deaths <pid> has the evidence and the native addons',
  exit: 'the program ends its own process: look for process.exit() in it and in its packages',
  'master-died':
    'masters that are killed: the system log says by whom (journalctl, dmesg); stop them by TERM, with time for the drain',
  'host-lost': 'hosts that went away, or lost their way to Redis: their own logs say more',
};

export const deaths = defineCheck<DeathsFacts>({
  name: 'deaths',
  section: 'Fleet',
  async gather(exam) {
    const { deaths } = await exam.deaths();
    const { redisTimeMs: nowMs } = await exam.snapshot();
    return { deaths, nowMs };
  },
  judge: judgeDeaths,
});

export function judgeDeaths({ deaths, nowMs }: DeathsFacts): Verdict {
  const [newest] = deaths;
  if (!newest) return { status: 'ok', found: 'nobody died in the last day' };
  const counts = new Map<DeathCause, number>();
  for (const { cause } of deaths) counts.set(cause, (counts.get(cause) ?? 0) + 1);
  const sorted = [...counts].sort(([, a], [, b]) => b - a);
  const summed = listed(
    sorted.map(([cause, count]) => `${count} ${cause}`),
    8,
  );
  const quarantined = deaths.flatMap(({ jobs }) => jobs.filter(({ outcome }) => outcome === 'quarantined'));
  const details = [
    `the last: ${newest.cause}, ${formatDuration(nowMs - newest.atMs)} ago, slot ${newest.slot}, pid ${newest.pid}: ${newest.evidence.summary}`,
  ];
  if (quarantined.length > 0) {
    const names = quarantined.map(({ queue, id }) => `${queue}/${id}`);
    details.push(`failed for good, because they killed their processes: ${listed([...new Set(names)])}`);
  }
  return {
    status: 'warn',
    found: `${plural(deaths.length, 'child', 'children')} died in the last day: ${summed}`,
    details,
    why: 'Their jobs ran again from the beginning; nothing is lost, but the time, and what a job had done by halves',
    cure: sorted.map(([cause]) => CURES[cause]),
  };
}
