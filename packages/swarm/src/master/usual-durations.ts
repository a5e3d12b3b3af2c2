/**
 * How long jobs of each kind usually take, over all children of this master and over their lives. Bounded: the
 * kinds that were seen last, and of each as much as the last thousand or two runs weigh.
 */
import { addCounts, type DurationCounts, halve, quantileMs, totalOf } from '../duration-sketch.js';
import { type JobDurationCounts, MAX_JOB_KINDS } from '../protocol.js';
import type { JobDurationRecord } from '../registry/schema.js';

/** Beyond it, what there was counts for half. */
const MAX_WEIGHT = 2_000;

interface Kind {
  queue: string;
  name: string;
  runs: number;
  counts: DurationCounts;
  /** null: to be made anew. */
  record: JobDurationRecord | null;
}

export class UsualDurations {
  /** The kind that was seen last comes last. */
  readonly #kinds = new Map<string, Kind>();

  add(reported: readonly JobDurationCounts[]): void {
    for (const { queue, name, counts } of reported) {
      const key = JSON.stringify([queue, name]);
      const kind = this.#kinds.get(key) ?? { queue, name, runs: 0, counts: new Map(), record: null };
      this.#kinds.delete(key);
      this.#kinds.set(key, kind);
      kind.runs += counts.reduce((sum, [, count]) => sum + count, 0);
      kind.record = null;
      addCounts(kind.counts, counts);
      while (totalOf(kind.counts) > MAX_WEIGHT) halve(kind.counts);
    }
    for (const key of this.#kinds.keys()) {
      if (this.#kinds.size <= MAX_JOB_KINDS) break;
      this.#kinds.delete(key);
    }
  }

  /** Those that take longest come first. */
  get records(): JobDurationRecord[] {
    const records = [...this.#kinds.values()].map((kind) => {
      kind.record ??= summary(kind);
      return kind.record;
    });
    return records.sort((a, b) => b.medianMs - a.medianMs);
  }
}

function summary({ queue, name, runs, counts }: Kind): JobDurationRecord {
  return { queue, name, runs, medianMs: quantileMs(counts, 0.5), p95Ms: quantileMs(counts, 0.95) };
}
