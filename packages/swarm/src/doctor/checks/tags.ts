/** Does older code still take jobs from the same queues? */
import type { MasterRecord } from '../../registry/schema.js';
import { formatDuration } from '../../units.js';
import { defineCheck, listed, type Problem, plural, type Verdict, verdictOf } from '../check.js';

export interface TagsFacts {
  masters: readonly Pick<
    MasterRecord,
    'identity' | 'pid' | 'tag' | 'version' | 'startedAtMs' | 'generation' | 'children'
  >[];
  nowMs: number;
}

export const tags = defineCheck<TagsFacts>({
  name: 'tags',
  section: 'Fleet',
  async gather(exam) {
    const { masters, redisTimeMs: nowMs } = await exam.snapshot();
    return { masters: masters.filter(({ stale }) => !stale), nowMs };
  },
  judge: judgeTags,
});

type TaggedMaster = TagsFacts['masters'][number];

export function judgeTags({ masters, nowMs }: TagsFacts): Verdict {
  const problems = masters.flatMap((master) => [
    ...(newerThan(master, masters)?.map((newer): Problem => {
      const since = formatDuration(nowMs - newer.startedAtMs);
      return {
        status: 'warn',
        found: `${master.identity} still runs ${JSON.stringify(master.tag)}; ${JSON.stringify(newer.tag)} has run on the same queues for ${since}`,
        cure: `swarm stop ${master.identity}, if its time is over (in the middle of a deploy it is not)`,
      };
    }) ?? []),
    ...outdated(master),
  ]);
  const names = [...new Set(masters.map(({ tag }) => tag).filter((tag) => tag !== ''))];
  const fine =
    masters.length === 0 ? 'no master runs' : `${listed(names) || 'no tag'}, nothing older beside it`;
  return verdictOf(
    problems,
    fine,
    'Two versions of the code take the same jobs, and which one gets a job is chance',
  );
}

/** The newest master that works for a queue of this one under another tag, and was started later. */
function newerThan(master: TaggedMaster, masters: readonly TaggedMaster[]): TaggedMaster[] | null {
  const own = queuesOf(master);
  const newer = masters
    .filter((other) => other.startedAtMs > master.startedAtMs && other.tag !== master.tag)
    .filter((other) => queuesOf(other).some((queue) => own.includes(queue)))
    .sort((a, b) => b.startedAtMs - a.startedAtMs);
  return newer[0] ? [newer[0]] : null;
}

function queuesOf({ children }: TaggedMaster): string[] {
  return children.flatMap(({ workers }) =>
    workers.map(({ queue, prefix, redisId }) => JSON.stringify([redisId, prefix, queue])),
  );
}

/** While a roll is under way, or after one that was given up. */
function outdated({ identity, pid, generation, children }: TaggedMaster): Problem[] {
  const old = children.filter((child) => child.generation < generation && child.state !== 'stopping');
  if (old.length === 0) return [];
  return [
    {
      status: 'warn',
      found: `${plural(old.length, 'child', 'children')} of ${identity} ${old.length === 1 ? 'is' : 'are'} of an older generation: a roll is under way, or was given up`,
      cure: `swarm roll ${pid} says how far it comes, and why it stops`,
    },
  ];
}
