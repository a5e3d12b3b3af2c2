/** `npm run test:long` runs the whole of what `npm test` takes samples of: every variant, and long storms. */
import { it, type TestContext } from 'node:test';

export const IS_LONG = process.env['SWARM_TEST_LONG'] === '1';

/** Where both majors of bullmq are known to differ in nothing. */
export const MAJORS: readonly (5 | 6)[] = IS_LONG ? [5, 6] : [6];

/** A test of the long form alone: what it shows, a shorter one shows nearly. */
export function longIt(name: string, run: (t: TestContext) => Promise<void>): void {
  if (IS_LONG) it(name, run);
}
