/**
 * A purse of points that fills up again, as of an API that charges by what a request takes: the estimate is
 * charged before, the difference to the truth after.
 */
import { badLimiter, define, positiveNumber, wholeNumber } from './definition.js';
import { BaseLimiter } from './limiter.js';
import { checkOptions, type LimiterOptions } from './options.js';

export interface PointsOptions extends LimiterOptions {
  /** Points that a use is charged with before it is known what it takes. Default 1. */
  estimate?: number | undefined;
}

const CALL = 'Limiter.points(name, points, refillPerSecond)';

/** Throws `SWARM_BAD_LIMITER`. @param points at most, from 1 to 1,000,000,000 @param refillPerSecond may be a fraction */
export function points(
  name: string,
  points: number,
  refillPerSecond: number,
  options: PointsOptions & { policy: 'skip' },
): BaseLimiter<undefined>;
export function points(
  name: string,
  points: number,
  refillPerSecond: number,
  options?: PointsOptions,
): BaseLimiter;
export function points(
  name: string,
  capacity: number,
  refillPerSecond: number,
  options: PointsOptions = {},
): BaseLimiter<undefined> {
  const checked = checkOptions(options, CALL, ['estimate']);
  const most = wholeNumber(capacity, { call: CALL, of: 'points', from: 1, to: 1e9 });
  const perSecond = positiveNumber(refillPerSecond, { call: CALL, of: 'refillPerSecond', to: 1e9 });
  const cost = positiveNumber(options.estimate ?? 1, { call: CALL, of: 'estimate', to: 1e9 });
  if (cost > most)
    throw badLimiter(`${CALL}: estimate takes at most the ${most} points there are, got ${cost}`);
  return new BaseLimiter(define('points', name, [most, perSecond]), checked, { leaseMs: 0, cost });
}
