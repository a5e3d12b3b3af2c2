/** Do locks outlast what blocks a child? */
import { formatDuration } from '../../units.js';
import { defineCheck, type Problem, plural, type Verdict, verdictOf } from '../check.js';

export interface LocksFacts {
  queues: readonly QueueLocks[];
}

export interface QueueLocks {
  queue: string;
  /** Of its Workers, the shortest; null: not known. */
  lockMs: number | null;
  /** The longest time for which the loop of a child that works for it has not turned: now, or by a dump of the last day. */
  blockedMs: number;
  /** Jobs that BullMQ took for stalled in the last day. */
  stalled: number;
}

export const jobLocks = defineCheck<LocksFacts>({
  name: 'job-locks',
  section: 'Queues',
  async gather(exam) {
    const { queues, db } = await exam.queues();
    const { redisTimeMs } = await exam.snapshot();
    const { dumps } = await exam.dumps();
    return {
      queues: queues
        .filter((queue) => queue.db === db && queue.takers.length > 0)
        .map(({ queue, prefix, takers, stalled }) => {
          const locks = takers.flatMap(({ child }) =>
            child.workers.flatMap((worker) =>
              worker.queue === queue && worker.prefix === prefix && worker.lock
                ? [worker.lock.durationMs]
                : [],
            ),
          );
          const dumped = dumps.filter(({ job, kind }) => job?.queue === queue && kind !== 'job');
          const blocks = takers.map(({ child }) => {
            const stuckMs = child.stuckSinceMs === null ? 0 : redisTimeMs - child.stuckSinceMs;
            return Math.max(child.loopLagMs ?? 0, stuckMs);
          });
          return {
            queue,
            lockMs: locks.length > 0 ? Math.min(...locks) : null,
            blockedMs: Math.max(0, ...blocks, ...dumped.map((dump) => dump.blockedMs)),
            stalled,
          };
        }),
    };
  },
  judge: judgeLocks,
});

export function judgeLocks({ queues }: LocksFacts): Verdict {
  const problems = queues.flatMap((queue) => problemOf(queue) ?? []);
  const known = queues.flatMap(({ lockMs }) => lockMs ?? []);
  const worst = Math.max(0, ...queues.map(({ blockedMs }) => blockedMs));
  const fine =
    known.length === 0
      ? 'no Worker runs whose locks are known'
      : `locks of ${formatDuration(Math.min(...known))} and more; the longest block seen took ${formatDuration(worst)}`;
  const why =
    'A lock is renewed by the loop of the process that runs the job. One that blocks for longer than the lock lasts loses it: the job is started elsewhere, beside the first run, and fails when that happens again';
  return verdictOf(problems, fine, why);
}

function problemOf({ queue, lockMs, blockedMs, stalled }: QueueLocks): Problem | null {
  const cure =
    'split the work, or move it into a worker thread or a sandboxed processor; then a lockDuration of more than twice the longest block (60000)';
  const name = JSON.stringify(queue);
  // renewed at half of it: a block of more than that may come at the wrong moment
  if (lockMs !== null && blockedMs * 2 > lockMs) {
    const status = blockedMs > lockMs ? 'fail' : 'warn';
    return {
      status,
      found: `locks of ${name} last ${formatDuration(lockMs)}, and a child of it was blocked for ${formatDuration(blockedMs)}`,
      cure,
    };
  }
  if (stalled === 0) return null;
  return {
    status: 'warn',
    found: `${plural(stalled, 'job')} of ${name} ${stalled === 1 ? 'was' : 'were'} taken for stalled in the last day${lockMs === null ? '' : ` (locks last ${formatDuration(lockMs)})`}`,
    cure: `${cure}; if processes died instead, swarm deaths says of what`,
  };
}
