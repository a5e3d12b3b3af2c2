/** Is this Node still looked after? */
import { defineCheck, listed, type Problem, type Verdict, verdictOf } from '../check.js';

export interface NodeFacts {
  /** As in `process.versions.node`, with who runs it. */
  versions: readonly { version: string; who: string }[];
  nowMs: number;
}

/** End of life of each line, by the release schedule of Node.js. */
const ENDS: Readonly<Record<number, string>> = {
  18: '2025-04-30',
  19: '2023-06-01',
  20: '2026-04-30',
  21: '2024-06-01',
  22: '2027-04-30',
  23: '2025-06-01',
  24: '2028-04-30',
  25: '2026-06-01',
  26: '2029-04-30',
};
const SOON_MS = 60 * 24 * 3_600_000;

export const nodeVersion = defineCheck<NodeFacts>({
  name: 'node-version',
  section: 'App',
  async gather(exam) {
    const { masters } = await exam.snapshot().catch(() => ({ masters: [] }));
    const running = masters
      .filter(({ stale, info }) => !stale && info.node !== '')
      .map(({ identity, info }) => ({ version: info.node, who: identity }));
    const versions = running.length > 0 ? running : [{ version: process.versions.node, who: 'this command' }];
    return { versions, nowMs: exam.now() };
  },
  judge: judgeNode,
});

export function judgeNode({ versions, nowMs }: NodeFacts): Verdict {
  const problems = versions.flatMap(({ version, who }): Problem[] => {
    const major = Number(version.split('.')[0]);
    const end = ENDS[major];
    const endsAtMs = end === undefined ? Number.POSITIVE_INFINITY : Date.parse(end);
    if (nowMs < endsAtMs - SOON_MS) return [];
    return [
      {
        status: 'warn',
        found: `${who} runs on Node ${version}, whose line ${nowMs < endsAtMs ? 'ends' : 'ended'} on ${end}`,
        cure: 'an LTS line that is looked after, 24 or newer: the children of a new master, or of a roll after the change, run on it',
      },
    ];
  });
  const names = [...new Set(versions.map(({ version }) => version))];
  return verdictOf(
    problems,
    `Node ${listed(names)}`,
    'After its end of life a line gets no fixes, those of security holes included',
  );
}
