/**
 * What Redis's clock says at the latest, by its replies and the time that passed here since, on the monotonic
 * clock. This process's own wall clock may say anything.
 *
 * A reply was made after its question was sent. So Redis's time of the reply, plus what has passed since the
 * sending, is never less than Redis's time now.
 */

/** Two clocks drift; Redis's is set right now and then. */
const BELIEVED_MS = 60_000;

export class RedisClock {
  /** Redis's time less ours, at most. */
  #offsetMs = Number.POSITIVE_INFINITY;
  #seenAtMs = Number.NEGATIVE_INFINITY;

  /** @param redisMs in a reply @param sentAtMs when its question was sent, monotonic */
  saw(redisMs: number, sentAtMs: number, nowMs: number): void {
    const offsetMs = redisMs - sentAtMs;
    if (offsetMs > this.#offsetMs && nowMs - this.#seenAtMs < BELIEVED_MS) return;
    this.#offsetMs = offsetMs;
    this.#seenAtMs = nowMs;
  }

  /** When Redis's clock will show this, at the earliest, on the monotonic clock. */
  atEarliest(redisMs: number): number {
    return redisMs - this.#offsetMs;
  }
}
