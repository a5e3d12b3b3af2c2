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

  /** @param startedAtMs epoch ms @param nowMs monotonic: reading a clock costs as much as all else here */
  begin({ timestamp, delay }: BullJob, startedAtMs: number, nowMs: number): void {
    const waitingForMs = startedAtMs - ((timestamp ?? 0) + (delay ?? 0));
    const roomForMs = nowMs - this.#roomSinceMs;
    this.#waits[this.begun % MAX_WAITS] = Math.max(0, Math.min(waitingForMs, roomForMs));
    this.begun += 1;
    this.#running += 1;
  }

  end(places: number, nowMs: number): void {
    if (this.#running === places) this.#roomSinceMs = nowMs;
    this.#running -= 1;
  }

  get usualWaitMs(): number {
    const sorted = this.#waits.toSorted((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)] ?? 0;
  }
}
