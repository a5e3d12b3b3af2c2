/** One request for a place, from the moment it is made until it is decided. */
import type { Definition } from './definition.js';
import type { Terms } from './operations.js';

export type Outcome =
  /** By Redis's clock; `takenAtMs` is null if a message brought it, which does not say. */
  | { kind: 'granted'; counter: 'immediate' | 'waited'; endsAtMs: number; takenAtMs: number | null }
  | { kind: 'refused'; retryInMs: number | null }
  /** Whoever asked does not want it any more. */
  | { kind: 'withdrawn' }
  | { kind: 'failed'; error: unknown };

let lastNumber = 0;

export class Waiter {
  readonly id: string;
  /** Monotonic. */
  readonly sinceMs: number;
  /** Its place in the queue; '': it has none yet. */
  place: string;
  /** It is in the queue. */
  isQueued = false;
  /** When Redis was to be asked again, as of its first answer. */
  lookInMs = 0;
  outcome: Outcome | null = null;
  readonly decided: Promise<Outcome>;
  #decide: (outcome: Outcome) => void = () => {};

  constructor(
    readonly definition: Definition,
    readonly terms: Terms,
    owner: string,
    { place, sinceMs }: { place: string; sinceMs: number } = { place: '', sinceMs: performance.now() },
  ) {
    const { leaseMs, waitMs, cost } = terms;
    lastNumber += 1;
    this.id = [owner, lastNumber, leaseMs, waitMs, cost].join('/');
    this.place = place;
    this.sinceMs = sinceMs;
    this.decided = new Promise((resolve) => {
      this.#decide = resolve;
    });
  }

  /** The first outcome counts. */
  settle(outcome: Outcome): void {
    if (this.outcome) return;
    this.outcome = outcome;
    this.#decide(outcome);
  }

  get leftMs(): number {
    return this.sinceMs + this.terms.waitMs - performance.now();
  }
}
