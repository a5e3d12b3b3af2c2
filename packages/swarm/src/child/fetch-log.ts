/** What one Worker has begun, and how long it commonly leaves a job waiting that it could begin. */
import type { BullJob } from './bullmq.js';

const MAX_WAITS = 31;

export class FetchLog {
  begun = 0;
  /** Its Worker has reported an error since that was last looked at. */
  hadTrouble = false;
  #running = 0;
  /** Since when it has room; monotonic. */
  #roomSinceMs = performance.now();
  readonly #waits: number[] = [];

  get running(): number {
    return this.#running;
  }

  begin({ timestamp, delay }: BullJob): void {
    const waitingForMs = Date.now() - ((timestamp ?? 0) + (delay ?? 0));
    const roomForMs = performance.now() - this.#roomSinceMs;
    this.#waits[this.begun % MAX_WAITS] = Math.max(0, Math.min(waitingForMs, roomForMs));
    this.begun += 1;
    this.#running += 1;
  }

  end(places: number): void {
    if (this.#running === places) this.#roomSinceMs = performance.now();
    this.#running -= 1;
  }

  get usualWaitMs(): number {
    const sorted = this.#waits.toSorted((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)] ?? 0;
  }
}
