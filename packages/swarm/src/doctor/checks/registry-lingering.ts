/** What is left in Redis of those who are gone: leases of limiters that nobody holds, keys that would stay for ever. */
import type { RedisClient } from '../../redis/connect.js';
import { readSnapshot } from '../../registry/reader.js';
import { defineCheck, listed, type Problem, plural, type Verdict, verdictOf } from '../check.js';

export interface LingeringEntriesFacts {
  keys: readonly { key: string /** ms; null: for ever. */; expiresInMs: number | null }[];
  /** Identities of children and masters of all namespaces here, as far as they have an entry. */
  known: ReadonlySet<string>;
}

const MAX_KEYS = 2_000;
const MAX_NAMESPACES = 20;
/** Who frees the leases of a dead child leaves its index for so long, for what came late. */
const FREED_MS = 60_000;

export const registryLingering = defineCheck<LingeringEntriesFacts>({
  name: 'registry-lingering',
  section: 'Fleet',
  async gather(exam) {
    const { client } = await exam.redis();
    const { ownKeys, namespaces } = await exam.queues();
    const known = new Set<string>();
    for (const namespace of namespaces.slice(0, MAX_NAMESPACES)) {
      for (const { identity, children } of (await readSnapshot(client, namespace)).masters) {
        known.add(identity);
        for (const child of children) known.add(child.identity);
      }
    }
    return { keys: await expiriesOf(client, ownKeys.slice(0, MAX_KEYS)), known };
  },
  judge: judgeLingeringEntries,
});

/** One command a key, because they are in different slots of a cluster; those that are gone by now are left out. */
async function expiriesOf(
  client: RedisClient,
  keys: readonly string[],
): Promise<LingeringEntriesFacts['keys']> {
  const replies = await Promise.all(keys.map((key) => client.pttl(key)));
  return keys.flatMap((key, index) => {
    const reply = replies[index] ?? -2;
    return reply === -2 ? [] : [{ key, expiresInMs: reply === -1 ? null : reply }];
  });
}

export function judgeLingeringEntries({ keys, known }: LingeringEntriesFacts): Verdict {
  const problems: Problem[] = [];
  const forEver = keys.filter(({ expiresInMs }) => expiresInMs === null).map(({ key }) => key);
  if (forEver.length > 0) {
    problems.push({
      status: 'warn',
      found: `${plural(forEver.length, 'key')} of swarm's would stay for ever: ${listed(forEver, 3)}`,
      cure: "look who wrote them (all of swarm's own expire), then DEL them",
    });
  }
  const left = keys.filter(({ key, expiresInMs }) => {
    const child = /^swarm:leases:\{(.+)\}$/.exec(key)?.[1];
    return child !== undefined && !known.has(child) && (expiresInMs ?? 0) > FREED_MS;
  });
  if (left.length > 0) {
    const children = left.map(({ key }) => key.slice('swarm:leases:{'.length, -1));
    problems.push({
      status: 'warn',
      found: `${plural(left.length, 'child that is gone', 'children that are gone')} may still hold leases of limiters: ${listed(children, 3)}`,
      cure: 'nothing, if that was within the last minutes: leases end by themselves; until then swarm limits shows which are full',
    });
  }
  const why =
    'A lease that nobody holds keeps a job from its turn until it ends; a key that never expires is there for whoever comes after';
  return verdictOf(
    problems,
    `${plural(keys.length, 'key')} of swarm's own, each with an owner and an end`,
    why,
  );
}
