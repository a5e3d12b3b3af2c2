/** What every limiter takes besides what it allows. */
import type { LimiterRedis } from './client.js';
import { badLimiter, show, wholeNumber } from './definition.js';
import type { OverLimitError, ReschedulePolicy } from './over-limit.js';

export interface LimiterOptions {
  /** For how long a use waits for its turn; 0: not at all. Default 5000. */
  waitTimeoutMs?: number | undefined;
  /** `raise` (the default): over the limit is an `OverLimitError`. `skip`: the work is left out. */
  policy?: 'raise' | 'skip' | undefined;
  /** How often in a row a job that is over the limit is rescheduled, before it fails. Default 20. */
  maxReschedules?: number | undefined;
  /**
   * In how many ms a job that is over the limit is tried again, by how often it was (from 1). Default: a second,
   * doubling to 5 minutes, at least until there is room, with jitter.
   */
  backoffMs?: ((overrated: number, error: OverLimitError) => number) | undefined;
  /**
   * A Redis URL, or an ioredis client (5 or 6; yours to close). Default: that of `Limiter.connect`, in a swarm app the
   * child's own connection, else `SWARM_REDIS_URL` or `REDIS_URL`.
   */
  redis?: string | LimiterRedis | undefined;
}

export interface CheckedOptions {
  waitTimeoutMs: number;
  policy: 'raise' | 'skip';
  reschedule: ReschedulePolicy;
  redis: string | LimiterRedis | null;
}

/** A timer's longest. */
export const MAX_TIME_MS = 2 ** 31 - 1 - 60_000;
const DEFAULT_WAIT_MS = 5_000;
const DEFAULT_RESCHEDULES = 20;
const FIRST_BACKOFF_MS = 1_000;
const MAX_BACKOFF_MS = 300_000;

/** Throws `SWARM_BAD_LIMITER`. @param call how the limiter was made, for messages */
export function checkOptions(
  options: LimiterOptions,
  call: string,
  known: readonly string[],
): CheckedOptions {
  const all = ['waitTimeoutMs', 'policy', 'maxReschedules', 'backoffMs', 'redis', ...known];
  if (typeof options !== 'object' || options === null)
    throw badLimiter(`${call}: options takes an object with ${all.join(', ')}, got ${show(options)}`);
  const unknown = Object.keys(options).find((name) => !all.includes(name));
  if (unknown !== undefined) {
    throw badLimiter(`${call}: options takes ${all.join(', ')}, got ${JSON.stringify(unknown)}`);
  }
  const { waitTimeoutMs = DEFAULT_WAIT_MS, policy = 'raise', maxReschedules = DEFAULT_RESCHEDULES } = options;
  if (policy !== 'raise' && policy !== 'skip')
    throw badLimiter(`${call}: policy takes 'raise' or 'skip', got ${show(policy)}`);
  const { backoffMs = defaultBackoffMs, redis } = options;
  if (typeof backoffMs !== 'function')
    throw badLimiter(
      `${call}: backoffMs takes a function of how often the job was over the limit, got ${show(backoffMs)}`,
    );
  return {
    waitTimeoutMs: wholeNumber(waitTimeoutMs, { call, of: 'waitTimeoutMs', from: 0, to: MAX_TIME_MS }),
    policy,
    reschedule: {
      maxReschedules: wholeNumber(maxReschedules, { call, of: 'maxReschedules', from: 0, to: 1_000_000 }),
      backoffMs,
    },
    redis: redis === undefined ? null : checkRedis(redis, call),
  };
}

/** Throws `SWARM_BAD_LIMITER`. */
export function checkRedis(redis: unknown, call: string): string | LimiterRedis {
  if (typeof redis === 'string' && redis !== '') return redis;
  const client = redis as Partial<LimiterRedis> | null | undefined;
  if (typeof client?.evalsha !== 'function' || typeof client.duplicate !== 'function') {
    throw badLimiter(
      `${call}: redis takes a URL or an ioredis client, got ${typeof redis === 'object' && redis ? 'an object without evalsha()' : show(redis)}`,
    );
  }
  if (client.options?.keyPrefix) {
    throw badLimiter(
      `${call}: redis takes a client without keyPrefix, got ${show(client.options.keyPrefix)}: keys of limiters are the same for all who share them`,
    );
  }
  return redis as LimiterRedis;
}

/** With jitter, so that jobs that were refused together do not come back together. */
export function defaultBackoffMs(
  overrated: number,
  { retryInMs }: Pick<OverLimitError, 'retryInMs'>,
  random: () => number = Math.random,
): number {
  const growing = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(overrated - 1, 20));
  return Math.round((retryInMs ?? 0) + growing * (0.5 + random() / 2));
}
