/** Does the app's database allow as many connections as its pools may open? */
import { defineCheck, NotLookedAt, type Problem, plural, type Verdict, verdictOf } from '../check.js';
import { countOf } from '../fleet.js';

export interface PoolFacts {
  /** Connections that the database allows. */
  allowed: number;
  /** Of one child; null: not said, so that each job has one. */
  pool: number | null;
  children: number;
  masters: number;
  /** Jobs at once in one child, the most. */
  concurrency: number;
}

/** Of an app of defineApp(), where nobody says. */
const USUAL_CONCURRENCY = 5;
/** For migrations, consoles, the database's own. */
const SPARE = 0.9;

export const databasePool = defineCheck<PoolFacts>({
  name: 'database-pool',
  section: 'App',
  async gather(exam) {
    const { dbMax: allowed, dbPool: pool } = exam;
    if (allowed === null) throw new NotLookedAt('say how many connections the database allows: --db-max N');
    const { masters } = await exam.snapshot().catch(() => ({ masters: [] }));
    const living = masters.filter(({ stale }) => !stale);
    const [configured] = await exam.fleets();
    const running = living.flatMap(({ children }) => children);
    const known = [
      ...running.map((child) => child.concurrency),
      ...(configured?.groups ?? []).map(({ concurrency }) => concurrency ?? 0),
    ];
    return {
      allowed,
      pool,
      children:
        living.length > 0
          ? living.reduce((sum, { count }) => sum + count, 0)
          : configured
            ? countOf(configured)
            : 0,
      masters: Math.max(1, living.length),
      concurrency: Math.max(0, ...known) || USUAL_CONCURRENCY,
    };
  },
  judge: judgePool,
});

export function judgePool({ allowed, pool, children, masters, concurrency }: PoolFacts): Verdict {
  const each = pool ?? concurrency;
  const open = children * each;
  // in a roll each master has one child more
  const most = (children + masters) * each;
  const what =
    pool === null ? `${plural(concurrency, 'job')} at once, one connection each` : `a pool of ${pool}`;
  const figures = `${plural(children, 'child', 'children')} × ${each} (${what}) = ${open}, in a roll ${most}, of ${allowed}`;
  const problems: Problem[] = [];
  if (most > allowed * SPARE) {
    problems.push({
      status: open > allowed ? 'fail' : 'warn',
      found: figures,
      cure: `a pool of at most ${Math.max(1, Math.floor((allowed * SPARE) / (children + masters)))} in each child, fewer children, or a pooler in front of the database (PgBouncer)`,
    });
  }
  if (pool !== null && pool < concurrency) {
    problems.push({
      status: 'warn',
      found: `a child runs ${concurrency} jobs at once, and its pool has ${plural(pool, 'connection')}`,
      cure: 'a pool as large as the concurrency, or a lower --concurrency: a job that waits for a connection keeps its place and does nothing',
    });
  }
  return verdictOf(
    problems,
    figures,
    'What the database does not allow fails the jobs that ask for it (too many clients already), and everybody else on that database',
  );
}
