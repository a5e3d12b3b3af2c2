/** How long jobs of each kind have taken in this child since the master was last told. Only those that completed: how soon others fail says nothing. */
import { bucketOf, type DurationCounts } from '../duration-sketch.js';
import { type JobDurationCounts, MAX_JOB_KINDS } from '../protocol.js';

const MAX_NAME_LENGTH = 256;

export class JobDurations {
  /** By queue, then by name. */
  #kinds = new Map<string, Map<string, DurationCounts>>();
  #size = 0;

  add(queue: string, name: string, durationMs: number): void {
    let names = this.#kinds.get(queue);
    if (!names) {
      names = new Map();
      this.#kinds.set(queue, names);
    }
    let counts = names.get(name);
    if (!counts) {
      if (this.#size >= MAX_JOB_KINDS) return;
      this.#size += 1;
      counts = new Map();
      names.set(name, counts);
    }
    const bucket = bucketOf(durationMs);
    counts.set(bucket, (counts.get(bucket) ?? 0) + 1);
  }

  /** What there is to say since the last call. */
  take(): JobDurationCounts[] {
    if (this.#size === 0) return [];
    const taken = [...this.#kinds].flatMap(([queue, names]) =>
      [...names].map(([name, counts]) => {
        return { queue, name: String(name).slice(0, MAX_NAME_LENGTH), counts: [...counts] };
      }),
    );
    this.#kinds = new Map();
    this.#size = 0;
    return taken;
  }
}
