/**
 * What this child knows of one queue: whether a fetch is worth it, and when it will be. Pure.
 *
 * What there is to know comes from three sides. A *sign* says that there may be a job: the queue's marker, a delayed job
 * that is due, a place under a limit that became free. A *reply* to a fetch says what there was at that moment. A
 * *look* says of all queues at once what they have. Replies come in the order in which fetches were sent, so the last one
 * is right, unless a sign came after its fetch was sent.
 */

/** What a fetch brought. */
export interface Reply {
  job: boolean;
  /** BullMQ's rate limit of the queue, ms; 0: none now. */
  limitedMs: number;
  /** When its next delayed job is due, epoch ms; 0: it has none, or the reply does not say. */
  dueAtMs: number;
}

/** What a queue has, as `look.lua` sees it. */
export interface Sight {
  /** Jobs that can be fetched now: none while it is paused, or at its global concurrency. */
  jobs: number;
  /** Epoch ms; 0: it has no delayed job that is not due. */
  dueAtMs: number;
  /** It has a global concurrency: a job that ends makes room for others, which no marker tells of. */
  isCapped: boolean;
}

export class Known {
  /** It may have a job. */
  ready = false;
  /** How many fetches are worth it before the next look. */
  hint = 0;
  /** Grows with each sign. */
  signs = 0;
  dueAtMs = Number.POSITIVE_INFINITY;
  limitedUntilMs = 0;
  isCapped = false;

  sign(): void {
    this.ready = true;
    this.signs += 1;
    this.hint = Math.max(this.hint, 1);
  }

  /** A marker of a delayed job was taken. */
  delayed(untilMs: number): void {
    this.dueAtMs = Math.min(this.dueAtMs, untilMs);
  }

  /** @param signs how many there were when the fetch was sent */
  replied({ job, limitedMs, dueAtMs }: Reply, signs: number, nowMs: number): void {
    if (job) {
      this.ready = true;
      this.limitedUntilMs = 0;
      return;
    }
    this.limitedUntilMs = limitedMs > 0 ? nowMs + limitedMs : 0;
    // a rate limited queue does not say when its delayed jobs are due
    if (limitedMs <= 0) this.dueAtMs = dueAtMs > 0 ? dueAtMs : Number.POSITIVE_INFINITY;
    this.missed(signs);
  }

  /** A fetch brought nothing. */
  missed(signs: number): void {
    if (this.signs !== signs) return;
    this.ready = false;
    this.hint = 0;
  }

  /** @param signs how many there were when the look was sent */
  saw({ jobs, dueAtMs, isCapped }: Sight, signs: number): void {
    this.isCapped = isCapped;
    this.dueAtMs = dueAtMs > 0 ? dueAtMs : Number.POSITIVE_INFINITY;
    if (jobs > 0) {
      this.ready = true;
      this.hint = jobs;
    } else this.missed(signs);
  }

  isLimited(nowMs: number): boolean {
    return this.limitedUntilMs > nowMs;
  }

  /** When there will be a sign that nobody else gives; infinite: never. */
  get nextSignAtMs(): number {
    return this.limitedUntilMs > 0 ? this.limitedUntilMs : this.dueAtMs;
  }

  /** The time of `nextSignAtMs` has come. */
  due(nowMs: number): void {
    if (this.limitedUntilMs <= nowMs) this.limitedUntilMs = 0;
    if (this.dueAtMs <= nowMs) this.dueAtMs = Number.POSITIVE_INFINITY;
    this.sign();
  }
}
