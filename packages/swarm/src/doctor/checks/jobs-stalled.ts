/** Active jobs that nobody runs: their lock is gone, and no process has them in hand. */
import { defineCheck, listed, type Problem, plural, type Verdict, verdictOf } from '../check.js';

export interface StalledFacts {
  queues: readonly {
    queue: string;
    prefix: string;
    active: number;
    lost: readonly string[];
    hasTakers: boolean;
  }[];
}

export const jobsStalled = defineCheck<StalledFacts>({
  name: 'jobs-stalled',
  section: 'Queues',
  async gather(exam) {
    const { queues, db } = await exam.queues();
    return {
      queues: queues
        .filter((queue) => queue.db === db)
        .map(({ queue, prefix, active, unlocked, takers, connectedWorkers }) => {
          const hasTakers = takers.length > 0 || (connectedWorkers ?? 0) > 0;
          return { queue, prefix, active, lost: unlocked, hasTakers };
        }),
    };
  },
  judge: judgeStalled,
});

export function judgeStalled({ queues }: StalledFacts): Verdict {
  const problems = queues.flatMap(({ queue, lost, hasTakers }): Problem[] => {
    if (lost.length === 0) return [];
    const jobs = `${plural(lost.length, 'job')} of ${JSON.stringify(queue)} (${listed(lost, 3)})`;
    return [
      {
        status: hasTakers ? 'warn' : 'fail',
        found: `${jobs} ${lost.length === 1 ? 'is' : 'are'} active, and ${lost.length === 1 ? 'has' : 'have'} lost the lock`,
        cure: hasTakers
          ? 'wait for half a minute: BullMQ puts them back, at the second time it fails them; then look for what blocks (swarm dumps) or died (swarm deaths)'
          : `start a Worker for ${JSON.stringify(queue)}: it is the Workers that put such jobs back`,
      },
    ];
  });
  const active = queues.reduce((sum, queue) => sum + queue.active, 0);
  const fine = active === 0 ? 'no job is active' : `${plural(active, 'job')} active, each with its lock`;
  const why =
    'A job without its lock may start elsewhere while it still runs, or waits until somebody notices that its process is gone';
  return verdictOf(problems, fine, why);
}
