/** So many in any stretch of time of this length. Redis keeps each of them for as long: about 100 bytes. */
import { define, wholeNumber } from './definition.js';
import { BaseLimiter } from './limiter.js';
import { checkOptions, type LimiterOptions, MAX_TIME_MS } from './options.js';

const CALL = 'Limiter.window(name, n, ms)';

/** Throws `SWARM_BAD_LIMITER`. @param n in any `ms`, from 1 to 1,000,000 */
export function window(
  name: string,
  n: number,
  ms: number,
  options: LimiterOptions & { policy: 'skip' },
): BaseLimiter<undefined>;
export function window(name: string, n: number, ms: number, options?: LimiterOptions): BaseLimiter;
export function window(
  name: string,
  n: number,
  ms: number,
  options: LimiterOptions = {},
): BaseLimiter<undefined> {
  const checked = checkOptions(options, CALL, []);
  const limit = wholeNumber(n, { call: CALL, of: 'n', from: 1, to: 1_000_000 });
  const windowMs = wholeNumber(ms, { call: CALL, of: 'ms', from: 1, to: MAX_TIME_MS });
  return new BaseLimiter(define('window', name, [limit, windowMs]), checked, { leaseMs: 0, cost: 1 });
}
