/** At most so many at once, wherever they run. */
import { define, wholeNumber } from './definition.js';
import { BaseLimiter } from './limiter.js';
import { checkOptions, type LimiterOptions, MAX_TIME_MS } from './options.js';

export interface ConcurrentOptions extends LimiterOptions {
  /**
   * When a lease ends that is not renewed, because its process is gone or stands still; it is renewed at a third of
   * that. Under swarm a dead process's leases are free at once. Default 30000, at least 100.
   */
  lockTimeoutMs?: number | undefined;
}

const CALL = 'Limiter.concurrent(name, n)';
const DEFAULT_LOCK_MS = 30_000;

/** Throws `SWARM_BAD_LIMITER`. @param n at once, from 1 to 1,000,000 */
export function concurrent(
  name: string,
  n: number,
  options: ConcurrentOptions & { policy: 'skip' },
): BaseLimiter<undefined>;
export function concurrent(name: string, n: number, options?: ConcurrentOptions): BaseLimiter;
export function concurrent(name: string, n: number, options: ConcurrentOptions = {}): BaseLimiter<undefined> {
  const checked = checkOptions(options, CALL, ['lockTimeoutMs']);
  const { lockTimeoutMs = DEFAULT_LOCK_MS } = options;
  const limit = wholeNumber(n, { call: CALL, of: 'n', from: 1, to: 1_000_000 });
  const leaseMs = wholeNumber(lockTimeoutMs, { call: CALL, of: 'lockTimeoutMs', from: 100, to: MAX_TIME_MS });
  return new BaseLimiter(define('concurrent', name, [limit]), checked, { leaseMs, cost: 1 });
}
