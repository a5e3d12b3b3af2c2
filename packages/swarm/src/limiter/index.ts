/**
 * Public API `bullmq-swarm/limiter`: limits that hold over every process and every host that shares a Redis.
 */
import { bucket } from './bucket.js';
import { concurrent } from './concurrent.js';
import { closeAll, nameRedis } from './connection.js';
import { leaky } from './leaky.js';
import type { BaseLimiter } from './limiter.js';
import { points } from './points.js';
import { unlimited } from './unlimited.js';
import { window } from './window.js';

export type { Period } from './bucket.js';
export type { LimiterRedis, WakeRedis } from './client.js';
export type { ConcurrentOptions } from './concurrent.js';
export type { LimiterType } from './definition.js';
export { LeaseLostError } from './held-lease.js';
export type { Lease, LimitHandle, UseOptions, WithinOptions } from './limiter.js';
export type { LimiterCounters } from './operations.js';
export type { LimiterOptions } from './options.js';
export { isOverLimit, OverLimitError, type ReschedulePolicy } from './over-limit.js';
export type { PointsOptions } from './points.js';
export { rescheduleOverLimit } from './reschedule.js';
export type { LimiterStatus } from './status.js';

/**
 * ```ts
 * const linkedin = Limiter.concurrent('linkedin', 2);
 * await linkedin.withinLimit(async ({ signal }) => { … });
 * ```
 *
 * Made as often as you like, for each user too: a limiter is a few numbers here, and in Redis it is gone a
 * quarter of an hour after its last use. Whoever names the same one on the same Redis shares it.
 */
export const Limiter = {
  /** At most `n` at once. */
  concurrent,
  /** At most `n` in each second, minute, hour or day of the calendar. */
  bucket,
  /** At most `n` in any `ms`. */
  window,
  /** A burst of `size`, then one each `drainMs / size`. */
  leaky,
  /** Points that are spent and come back. */
  points,
  /** No limit. */
  unlimited,
  /**
   * Which Redis the limiters of this process are on: a URL, or an ioredis client (5 or 6; yours to close), of which one
   * duplicate is opened when a use waits for the first time. Before the first use. Throws `SWARM_BAD_LIMITER`.
   */
  connect: nameRedis,
  /** Gives back what this process holds and closes the connections that were opened for limiters; uses open them anew. */
  close: closeAll,
};

/** `Skipped` is undefined where the policy is `skip`. */
export type Limiter<Skipped = never> = Pick<
  BaseLimiter<Skipped>,
  'name' | 'withinLimit' | 'tryAcquire' | 'status' | 'reset' | 'openGate'
>;
