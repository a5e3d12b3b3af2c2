/** What was seen of each child so far, for its sparklines. A value a beat of its master: readings in between say nothing new. */
import type { MasterRecord } from '../../registry/schema.js';

export interface ChildHistory {
  /** PSS, RSS where that is not known; oldest first. */
  memoryBytes: number[];
  loopLagMs: number[];
}

/** As wide as a terminal makes them. */
const MAX_VALUES = 60;

export class History {
  /** By identity of the child. */
  readonly #children = new Map<string, ChildHistory>();
  /** By identity of the master: its last beat that was taken. */
  readonly #beats = new Map<string, number>();
  /** Jobs done so far, over all children, with the time of the reading. */
  readonly #done: { atMs: number; jobs: number }[] = [];

  add(masters: readonly MasterRecord[], redisTimeMs: number): void {
    const present = new Set<string>();
    for (const master of masters) {
      const isNew = this.#beats.get(master.identity) !== master.beatAtMs;
      this.#beats.set(master.identity, master.beatAtMs);
      for (const child of master.children) {
        present.add(child.identity);
        if (!isNew || master.stale) continue;
        const history = this.of(child.identity);
        keep(history.memoryBytes, child.pssBytes ?? child.rssBytes);
        keep(history.loopLagMs, child.loopLagMs);
        this.#children.set(child.identity, history);
      }
    }
    for (const identity of this.#children.keys()) if (!present.has(identity)) this.#children.delete(identity);
    const jobs = masters
      .flatMap(({ children }) => children)
      .reduce((sum, { processed }) => sum + processed, 0);
    const last = this.#done.at(-1);
    // a child that was replaced takes its count with it
    if (last && jobs < last.jobs) this.#done.length = 0;
    this.#done.push({ atMs: redisTimeMs, jobs });
    if (this.#done.length > MAX_VALUES) this.#done.shift();
  }

  of(identity: string): ChildHistory {
    return this.#children.get(identity) ?? { memoryBytes: [], loopLagMs: [] };
  }

  /** Over the last readings; null: too few. */
  get jobsPerSecond(): number | null {
    const [first] = this.#done;
    const last = this.#done.at(-1);
    if (!first || !last || last.atMs - first.atMs < 2_000) return null;
    return ((last.jobs - first.jobs) * 1_000) / (last.atMs - first.atMs);
  }
}

function keep(values: number[], value: number | null): void {
  if (value === null) return;
  values.push(value);
  if (values.length > MAX_VALUES) values.shift();
}
