/** Jobs that fail for good the first time that anything goes wrong. */
import { defineCheck, listed, type Verdict } from '../check.js';

export interface AttemptsFacts {
  queues: readonly { queue: string; looked: number; once: readonly string[] }[];
}

export const jobAttempts = defineCheck<AttemptsFacts>({
  name: 'job-attempts',
  section: 'Queues',
  async gather(exam) {
    const { queues, db } = await exam.queues();
    return {
      queues: queues
        .filter((queue) => queue.db === db)
        .map(({ queue, samples }) => {
          const once = samples.filter(({ attempts }) => attempts < 2).map(({ name }) => name);
          return { queue, looked: samples.length, once };
        }),
    };
  },
  judge: judgeAttempts,
});

export function judgeAttempts({ queues }: AttemptsFacts): Verdict {
  const looked = queues.reduce((sum, queue) => sum + queue.looked, 0);
  const bad = queues.filter(({ once }) => once.length > 0);
  if (looked === 0) return { status: 'ok', found: 'no job waits that could be looked at' };
  if (bad.length === 0)
    return { status: 'ok', found: `all of ${looked} waiting jobs looked at are tried more than once` };
  const names = bad.map(({ queue, once }) => `${JSON.stringify(queue)} (${listed([...new Set(once)], 3)})`);
  return {
    status: 'warn',
    found: `jobs without attempts wait in ${listed(names)}`,
    why: 'A job without attempts fails for good when its code throws once: a database that restarts, a timeout, a record that is not committed yet',
    cure: [
      "new Queue(name, { defaultJobOptions: { attempts: 5, backoff: { type: 'exponential', delay: 1000 } } })",
      'a job that must not run twice can throw UnrecoverableError instead',
    ],
  };
}
