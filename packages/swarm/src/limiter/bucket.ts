/** So many in each second, minute, hour or day of the calendar (UTC, by Redis's clock); all of them may come at its beginning. */
import { badLimiter, define, show, wholeNumber } from './definition.js';
import { BaseLimiter } from './limiter.js';
import { checkOptions, type LimiterOptions } from './options.js';

export type Period = keyof typeof PERIODS;

const PERIODS = { second: 1_000, minute: 60_000, hour: 3_600_000, day: 86_400_000 } as const;
const CALL = 'Limiter.bucket(name, n, period)';

/** Throws `SWARM_BAD_LIMITER`. @param n in each period, from 1 to 1,000,000,000 */
export function bucket(
  name: string,
  n: number,
  period: Period,
  options: LimiterOptions & { policy: 'skip' },
): BaseLimiter<undefined>;
export function bucket(name: string, n: number, period: Period, options?: LimiterOptions): BaseLimiter;
export function bucket(
  name: string,
  n: number,
  period: Period,
  options: LimiterOptions = {},
): BaseLimiter<undefined> {
  const checked = checkOptions(options, CALL, []);
  const limit = wholeNumber(n, { call: CALL, of: 'n', from: 1, to: 1e9 });
  if (!Object.hasOwn(PERIODS, period))
    throw badLimiter(`${CALL}: period takes ${Object.keys(PERIODS).join(', ')}, got ${show(period)}`);
  return new BaseLimiter(define('bucket', name, [limit, PERIODS[period]]), checked, { leaseMs: 0, cost: 1 });
}
