/** A place that was given, until it is given back. None of its methods throws: what fails ends with the lease. */
import type { Definition } from './definition.js';
import { hasLeases } from './definition.js';
import type { Operations, Terms } from './operations.js';
import type { Renewals } from './renewals.js';

/** For Redis to hear of a release; the work is done, and does not wait for more. */
const RELEASE_MS = 1_000;

export interface LeaseFacts {
  id: string;
  definition: Definition;
  terms: Terms;
  counter: 'immediate' | 'waited';
  /** By Redis's clock. */
  takenAtMs: number;
  /** Monotonic: it is certain until then. */
  validUntilMs: number;
}

export class HeldLease {
  readonly id: string;
  readonly definition: Definition;
  readonly terms: Terms;
  readonly #counter: 'immediate' | 'waited';
  readonly #takenAtMs: number;
  readonly #sinceMs = performance.now();
  readonly #operations: Operations;
  readonly #renewals: Renewals;
  readonly #onEnd: (lease: HeldLease) => void;
  validUntilMs: number;
  #charged: number;
  #isOver = false;
  #loss: Error | null = null;
  #abort: AbortController | null = null;

  constructor(
    facts: LeaseFacts,
    parts: { operations: Operations; renewals: Renewals; onEnd: (lease: HeldLease) => void },
  ) {
    this.id = facts.id;
    this.definition = facts.definition;
    this.terms = facts.terms;
    this.#counter = facts.counter;
    this.#takenAtMs = facts.takenAtMs;
    this.validUntilMs = facts.validUntilMs;
    this.#charged = facts.terms.cost;
    this.#operations = parts.operations;
    this.#renewals = parts.renewals;
    this.#onEnd = parts.onEnd;
  }

  /** Aborted if it was lost before it was given back: others may be at work by now. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.#loss) this.#abort.abort(this.#loss);
    return this.#abort.signal;
  }

  /** What it has cost in truth; the last call counts. */
  used(points: number): Promise<void> {
    if (this.definition.type !== 'points') return Promise.resolve();
    const correction = this.terms.cost + points - this.#charged;
    this.#charged = points;
    return bounded(this.#operations.used(this.definition, this.id, correction));
  }

  /** A second time does nothing. */
  release(): Promise<void> {
    if (!this.#end()) return Promise.resolve();
    if (!hasLeases(this.definition.type)) return Promise.resolve();
    return bounded(this.#operations.release(this.definition, this.id, performance.now() - this.#sinceMs));
  }

  /** Gives back what it has cost as well: nothing was done with it. */
  cancel(): Promise<void> {
    if (!this.#end()) return Promise.resolve();
    return bounded(this.#operations.cancel(this.definition, this.id, this.#takenAtMs, this.#counter));
  }

  lose(why: string): void {
    if (this.#isOver || this.#loss) return;
    this.#loss = new LeaseLostError(this.definition.name, why);
    this.#abort?.abort(this.#loss);
  }

  /** It was given back. */
  get isOver(): boolean {
    return this.#isOver;
  }

  get isLost(): boolean {
    return this.#loss !== null;
  }

  #end(): boolean {
    if (this.#isOver) return false;
    this.#isOver = true;
    this.#renewals.remove(this);
    this.#onEnd(this);
    return true;
  }
}

export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError';
  readonly code = 'SWARM_LEASE_LOST';

  constructor(limiter: string, why: string) {
    super(`the lease of ${JSON.stringify(limiter)} ended before the work was done: ${why}`);
  }
}

async function bounded(work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, RELEASE_MS);
  });
  await Promise.race([work.then(ignore, ignore), late]);
  clearTimeout(timer);
}

function ignore(): void {}
