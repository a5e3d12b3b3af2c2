/**
 * Which kind of job bloats the children: what they report of their runs, over all children of this master and
 * over their lives, since a child that bloats is soon another one. Bounded: the last values of each kind, and
 * the kinds that were seen last.
 */
import { type JobGrowth, MAX_JOB_KINDS } from '../protocol.js';
import type { JobMemoryRecord } from '../registry/schema.js';

const MAX_VALUES = 256;
/** So many exact values say more than any number of approximate ones. */
const ENOUGH_EXACT = 5;

interface Kind {
  queue: string;
  name: string;
  runs: number;
  exact: number[];
  approximate: number[];
  /** null: to be made anew. */
  record: JobMemoryRecord | null;
}

export class JobLedger {
  /** The kind that was seen last comes last. */
  readonly #kinds = new Map<string, Kind>();

  add(reported: readonly JobGrowth[]): void {
    for (const { queue, name, approximate, runs, values } of reported) {
      const key = JSON.stringify([queue, name]);
      const kind = this.#kinds.get(key) ?? { queue, name, runs: 0, exact: [], approximate: [], record: null };
      this.#kinds.delete(key);
      this.#kinds.set(key, kind);
      kind.runs += runs;
      kind.record = null;
      const kept = approximate ? kind.approximate : kind.exact;
      kept.push(...values);
      kept.splice(0, kept.length - MAX_VALUES);
    }
    for (const key of this.#kinds.keys()) {
      if (this.#kinds.size <= MAX_JOB_KINDS) break;
      this.#kinds.delete(key);
    }
  }

  /** Those that leave most behind come first. */
  get records(): JobMemoryRecord[] {
    const records = [...this.#kinds.values()].map((kind) => {
      kind.record ??= summary(kind);
      return kind.record;
    });
    return records.sort((a, b) => b.medianBytes - a.medianBytes || b.p95Bytes - a.p95Bytes);
  }
}

function summary({ queue, name, runs, exact, approximate }: Kind): JobMemoryRecord {
  const isExact = exact.length >= ENOUGH_EXACT || approximate.length === 0;
  const sorted = (isExact ? exact : [...exact, ...approximate]).toSorted((a, b) => a - b);
  return {
    ...{ queue, name, runs },
    ...{ medianBytes: quantile(sorted, 0.5), p95Bytes: quantile(sorted, 0.95), approximate: !isExact },
  };
}

/** Nearest rank. */
function quantile(sorted: readonly number[], part: number): number {
  return sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)] ?? 0;
}
