/** Does a master run in this namespace, or do they all run in another one? */
import { defineCheck, listed, plural, type Verdict } from '../check.js';

export interface NamespacesFacts {
  namespace: string;
  /** That run in it. */
  masters: number;
  /** Others in the same database, with a registry. */
  others: readonly string[];
}

export const namespaces = defineCheck<NamespacesFacts>({
  name: 'namespaces',
  section: 'Fleet',
  async gather(exam) {
    const { namespace } = exam.config;
    const { masters } = await exam.snapshot();
    const { namespaces: all } = await exam.queues();
    const living = masters.filter(({ stale }) => !stale).length;
    return { namespace, masters: living, others: all.filter((other) => other !== namespace).sort() };
  },
  judge: judgeNamespaces,
});

export function judgeNamespaces({ namespace, masters, others }: NamespacesFacts): Verdict {
  const more = others.length > 0 ? `; other namespaces here: ${listed(others)}` : '';
  if (masters > 0) return { status: 'ok', found: `${plural(masters, 'master')} in ${namespace}${more}` };
  if (others.length === 0) return { status: 'ok', found: `no master runs in ${namespace} yet` };
  return {
    status: 'warn',
    found: `no master runs in namespace ${namespace}, but ${listed(others)} ${others.length === 1 ? 'has' : 'have'} a registry`,
    why: 'Each namespace is a world of its own: swarm ps, the dashboard and this command see one',
    cure: [
      `look there: swarm doctor --namespace ${others[0]}`,
      'or start masters with the same --namespace (SWARM_NAMESPACE)',
    ],
  };
}
