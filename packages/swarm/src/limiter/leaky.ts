/** A burst of `size`, then as fast as a bucket leaks that runs from full to empty in `drainMs`: one each `drainMs / size`. */
import { define, wholeNumber } from './definition.js';
import { BaseLimiter } from './limiter.js';
import { checkOptions, type LimiterOptions, MAX_TIME_MS } from './options.js';

const CALL = 'Limiter.leaky(name, size, drainMs)';

/** Throws `SWARM_BAD_LIMITER`. @param drainMs from full to empty */
export function leaky(
  name: string,
  size: number,
  drainMs: number,
  options: LimiterOptions & { policy: 'skip' },
): BaseLimiter<undefined>;
export function leaky(name: string, size: number, drainMs: number, options?: LimiterOptions): BaseLimiter;
export function leaky(
  name: string,
  size: number,
  drainMs: number,
  options: LimiterOptions = {},
): BaseLimiter<undefined> {
  const checked = checkOptions(options, CALL, []);
  const drops = wholeNumber(size, { call: CALL, of: 'size', from: 1, to: 1e9 });
  const wholeDrainMs = wholeNumber(drainMs, { call: CALL, of: 'drainMs', from: 1, to: MAX_TIME_MS });
  return new BaseLimiter(define('leaky', name, [drops, wholeDrainMs]), checked, { leaseMs: 0, cost: 1 });
}
