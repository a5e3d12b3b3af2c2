/** Is everybody up? */
import type { ChildRecord, MasterRecord } from '../../registry/schema.js';
import { formatDuration } from '../../units.js';
import { defineCheck, listed, type Problem, plural, type Verdict, verdictOf } from '../check.js';

export interface ChildrenFacts {
  masters: readonly Pick<MasterRecord, 'identity' | 'state' | 'count' | 'children' | 'owed'>[];
  nowMs: number;
}

export const children = defineCheck<ChildrenFacts>({
  name: 'children',
  section: 'Fleet',
  async gather(exam) {
    const { masters, redisTimeMs: nowMs } = await exam.snapshot();
    return { masters: masters.filter(({ stale }) => !stale), nowMs };
  },
  judge: judgeChildren,
});

export function judgeChildren({ masters, nowMs }: ChildrenFacts): Verdict {
  const all = masters.flatMap((master) => master.children);
  const problems = all.flatMap((child) => problemOf(child, nowMs) ?? []);
  for (const { identity, owed } of masters) {
    if (owed.length === 0) continue;
    problems.push({
      status: 'warn',
      found: `${identity} has not yet put back what ${plural(owed.length, 'dead child', 'dead children')} held`,
      cure: 'wait until a child that works for the same queues is up: it is the one that puts them back',
    });
  }
  const up = all.filter(({ state }) => state === 'up').length;
  const wanted = masters.reduce((sum, { count }) => sum + count, 0);
  const fine = masters.length === 0 ? 'no master runs' : `${up} of ${wanted} up`;
  return verdictOf(problems, fine, 'What is not up takes no jobs, and what is stuck holds the ones it has');
}

function problemOf(child: ChildRecord, nowMs: number): Problem | null {
  const { slot, pid, state, stuckSinceMs, restarts, lastDeath } = child;
  const who = `slot ${slot} (pid ${pid})`;
  if (stuckSinceMs !== null) {
    const jobs = listed(child.jobs.map(({ queue, id }) => `${queue}/${id}`));
    return {
      status: 'fail',
      found: `${who} is stuck since ${formatDuration(nowMs - stuckSinceMs)}${jobs === '' ? '' : `, with ${jobs}`}`,
      cure: `swarm dump ${pid} shows where it hangs`,
    };
  }
  if (state !== 'backoff' && state !== 'failed') return null;
  const why = lastDeath?.cause ? `, the last time by ${lastDeath.cause}` : '';
  return {
    status: state === 'failed' ? 'fail' : 'warn',
    found: `slot ${slot} keeps dying: it was restarted ${plural(restarts, 'time')}${why}`,
    cure: 'swarm deaths, and swarm deaths <pid> for its stack and last words',
  };
}
