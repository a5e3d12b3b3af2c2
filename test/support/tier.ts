/**
 * Which of its tests a file has in this run. `npm test` is the quick tier: the files that scripts/tiers.mjs names,
 * and of these what `it` defines. The full tier (`CI=1 npm test`, or a file run by itself) is everything but what
 * only `npm run test:long` runs: every variant, and long storms. What is not in a tier is not defined in it: nothing
 * is shown as skipped for that.
 */
import { describe, it, type SuiteContext, type TestContext, type TestOptions } from 'node:test';

const TIER = process.env['SWARM_TEST_TIER'] ?? 'full';
const IS_QUICK = TIER === 'quick';
export const IS_LONG = TIER === 'long';

/** Where both majors of bullmq are known to differ in nothing. */
export const MAJORS: readonly (5 | 6)[] = IS_LONG ? [5, 6] : [6];

/** A test that the quick tier has not, in a file of which it has others. */
export function fullIt(name: string, run: (t: TestContext) => Promise<void>): void {
  if (!IS_QUICK) it(name, run);
}

/** Likewise, of all tests in it. */
export function fullDescribe(name: string, options: TestOptions, run: (s: SuiteContext) => void): void {
  if (!IS_QUICK) describe(name, options, run);
}

/** A test of the long form alone: what it shows, a shorter one shows nearly. */
export function longIt(name: string, run: (t: TestContext) => Promise<void>): void {
  if (IS_LONG) it(name, run);
}
