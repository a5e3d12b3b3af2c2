/** Entries of masters that are gone, or have lost their Redis. */
import type { MasterRecord } from '../../registry/schema.js';
import { formatDuration } from '../../units.js';
import { defineCheck, type Problem, plural, type Verdict, verdictOf } from '../check.js';

export interface StaleFacts {
  masters: readonly Pick<MasterRecord, 'identity' | 'host' | 'beatAtMs' | 'stale' | 'children'>[];
  nowMs: number;
  /** What could not be read. */
  warnings: readonly string[];
}

export const registryStale = defineCheck<StaleFacts>({
  name: 'registry-stale',
  section: 'Fleet',
  async gather(exam) {
    const { masters, redisTimeMs: nowMs, warnings } = await exam.snapshot();
    return { masters, nowMs, warnings };
  },
  judge: judgeStale,
});

export function judgeStale({ masters, nowMs, warnings }: StaleFacts): Verdict {
  const living = masters.filter(({ stale }) => !stale);
  const problems = masters
    .filter(({ stale }) => stale)
    .map(({ identity, host, beatAtMs, children }): Problem => {
      const jobs = children.reduce((sum, child) => sum + child.busy, 0);
      const held = jobs > 0 ? `; its children held ${plural(jobs, 'job')} then` : '';
      const rescuer =
        living.length > 0
          ? 'other masters release what it held if their children work for the same queues'
          : 'start a master for the same queues: it releases what was held';
      return {
        status: 'warn',
        found: `${identity} has not been heard of for ${formatDuration(nowMs - beatAtMs)}${held}`,
        cure: `look at host ${host}: is it up, does its swarm run, does it reach Redis? ${rescuer}; the entry goes by itself, an hour after its last beat`,
      };
    });
  for (const warning of warnings) {
    problems.push({
      status: 'warn',
      found: warning,
      cure: 'find out who else writes keys that begin with swarm: on this Redis, or which version of swarm does',
    });
  }
  const fine =
    masters.length === 0 ? 'no entries' : `${plural(masters.length, 'entry', 'entries')}, none stale`;
  return verdictOf(
    problems,
    fine,
    'A master that cannot be heard is dead, or cut off: its children may still run jobs that others are given as well',
  );
}
