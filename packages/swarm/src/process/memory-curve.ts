/** A child's memory over the last minute: what the record of its death shows. Pure. */
import type { MemoryPoint } from '../death.js';

const SPAN_MS = 60_000;
const MAX_POINTS = 60;
/** Between a point and the next but one: one a second, however often it is measured. */
const EVERY_MS = 1_100;

export interface MemoryReading {
  rssBytes: number | null;
  pssBytes: number | null;
  heapUsedBytes: number | null;
}

export class MemoryCurve {
  #readings: (MemoryReading & { atMs: number })[] = [];

  /** @param nowMs monotonic */
  push({ rssBytes, pssBytes, heapUsedBytes }: MemoryReading, nowMs: number): void {
    if (rssBytes === null && pssBytes === null && heapUsedBytes === null) return;
    const before = this.#readings.at(-2);
    // the newest reading always counts, and replaces one that came too soon after the one before it
    if (before && nowMs - before.atMs < EVERY_MS) this.#readings.pop();
    this.#readings.push({ rssBytes, pssBytes, heapUsedBytes, atMs: nowMs });
    if (this.#readings.length > MAX_POINTS) this.#readings.shift();
  }

  /** Oldest first; seconds to a tenth. */
  points(nowMs: number): MemoryPoint[] {
    return this.#readings
      .filter(({ atMs }) => nowMs - atMs <= SPAN_MS)
      .map(({ atMs, rssBytes, pssBytes, heapUsedBytes }) => {
        const secondsAgo = Math.round((nowMs - atMs) / 100) / 10;
        return [secondsAgo, rssBytes, pssBytes, heapUsedBytes];
      });
  }
}
