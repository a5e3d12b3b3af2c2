/** The error of whoever did not get its turn. */

/** How a job that was over a limit comes back; see {@link OverLimitError}. */
export interface ReschedulePolicy {
  /** How often in a row, before it fails like any other. */
  maxReschedules: number;
  /** In how many ms the job is tried again. @param overrated how often it was over a limit since its last success, from 1 */
  backoffMs(overrated: number, error: OverLimitError): number;
}

const CODE = 'SWARM_OVER_LIMIT';

export class OverLimitError extends Error {
  override readonly name = 'OverLimitError';
  readonly code = CODE;
  /** The limiter's name. */
  readonly limiter: string;
  readonly waitedMs: number;
  /** When there is room at the earliest, from then on; null: nobody can say. */
  readonly retryInMs: number | null;
  readonly policy: ReschedulePolicy;

  constructor(facts: {
    limiter: string;
    allows: string;
    waitedMs: number;
    retryInMs: number | null;
    policy: ReschedulePolicy;
  }) {
    const waited = facts.waitedMs > 0 ? ` within ${Math.round(facts.waitedMs)} ms` : '';
    const next = facts.retryInMs === null ? '' : `, the next is free in ${Math.ceil(facts.retryInMs)} ms`;
    super(`over the limit of ${JSON.stringify(facts.limiter)} (${facts.allows}): no room${waited}${next}`);
    this.limiter = facts.limiter;
    this.waitedMs = facts.waitedMs;
    this.retryInMs = facts.retryInMs;
    this.policy = facts.policy;
  }
}

/** Also of another copy of this package, which the app may have. */
export function isOverLimit(error: unknown): error is OverLimitError {
  return error instanceof Error && (error as { code?: unknown }).code === CODE;
}
