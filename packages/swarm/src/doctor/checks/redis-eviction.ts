/** May Redis throw jobs away when its memory is full? */
import { defineCheck, NotLookedAt, type Verdict, verdictOf } from '../check.js';
import { at, numberOf } from '../servers.js';

export interface EvictionFacts {
  servers: readonly { at: string; policy: string; maxmemoryBytes: number; evicted: number }[];
}

export const redisEviction = defineCheck<EvictionFacts>({
  name: 'redis-eviction',
  section: 'Redis',
  async gather(exam) {
    const servers = await exam.servers();
    const facts = servers.flatMap((server) => {
      const policy = server.info.get('maxmemory_policy') ?? server.config?.get('maxmemory-policy');
      if (policy === undefined) return [];
      const maxmemoryBytes = numberOf(server, 'maxmemory') ?? 0;
      const evicted = numberOf(server, 'evicted_keys') ?? 0;
      return [{ at: at(server, servers), policy, maxmemoryBytes, evicted }];
    });
    if (facts.length === 0) throw new NotLookedAt('this Redis does not say what its maxmemory-policy is');
    return { servers: facts };
  },
  judge: judgeEviction,
});

export function judgeEviction({ servers }: EvictionFacts): Verdict {
  const problems = servers
    .filter(({ policy }) => policy !== 'noeviction')
    .map(({ at, policy, maxmemoryBytes, evicted }) => {
      const lost = evicted > 0 ? `, and ${evicted} keys have been thrown away since it started` : '';
      const never = maxmemoryBytes === 0 ? ' (no maxmemory is set, so not yet)' : '';
      return {
        // with the volatile policies only what has a time to live may go: locks, limiters, the registry
        status: 'fail' as const,
        found: `maxmemory-policy${at} is ${policy}${never}${lost}`,
        cure: 'CONFIG SET maxmemory-policy noeviction, and the same in its configuration file or at its host',
      };
    });
  const why =
    'When its memory is full, such a Redis throws keys away, and jobs, their locks and limits are keys: jobs ' +
    'disappear without a trace. With noeviction it refuses new ones instead, and says so to whoever adds them';
  return verdictOf(problems, 'noeviction: no job is thrown away for want of memory', why);
}
