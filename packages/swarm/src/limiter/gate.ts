/**
 * A limiter between a queue and its fetch: who finds no room stands in the limiter's queue with all others, for
 * one place at a time, and hears when it is there. A place that is not fetched for within a moment goes on.
 */
import type { FetchGate, Lease } from '../fetch/gate.js';
import { type Definition, hasLeases } from './definition.js';
import { HeldLease } from './held-lease.js';
import type { Hub, Standing } from './hub.js';

/** A consumer whose loop turns comes for it at once. */
const FETCH_WITHIN_MS = 2_000;
/** In the queue for as long; then anew. */
const STAND_MS = 3_600_000;
const MAX_TIMER_MS = 3_600_000;

export class LimiterGate implements FetchGate {
  readonly #hub: Hub | Promise<Hub>;
  readonly #definition: Definition;
  readonly #terms: { leaseMs: number; cost: number };
  readonly #onRefused: (roomInMs: number | null) => void;
  #listener: () => void = () => {};
  #standing: Standing | null = null;
  /** Brought by standing, not fetched for yet. */
  #announced: { lease: HeldLease; timer: NodeJS.Timeout } | null = null;
  #timer: NodeJS.Timeout | undefined;
  /** Counts what makes an answer that is on its way unwanted. */
  #turn = 0;

  /** @param onRefused when there is room at the earliest; null: nobody can say */
  constructor(
    hub: Hub | Promise<Hub>,
    definition: Definition,
    terms: { leaseMs: number; cost: number },
    onRefused: (roomInMs: number | null) => void,
  ) {
    this.#hub = hub;
    this.#definition = definition;
    this.#terms = terms;
    this.#onRefused = onRefused;
  }

  onRoom(listener: () => void): void {
    this.#listener = listener;
  }

  async tryAcquire(): Promise<Lease | null> {
    const announced = this.#takeAnnounced();
    if (announced) return leaseOf(announced);
    if (this.#standing) return null;
    const turn = this.#turn;
    const hub = await this.#hub;
    const got = await hub.stand(this.#definition, { ...this.#terms, waitMs: STAND_MS }, (lease) =>
      this.#onLease(turn, lease),
    );
    if (got instanceof HeldLease) return leaseOf(got);
    if (got.kind === 'refused') {
      this.#onRefused(got.retryInMs);
      if (turn === this.#turn) this.#callIn(got.retryInMs ?? MAX_TIMER_MS);
    } else {
      this.#onRefused(got.roomInMs);
      // one place in the queue is enough, however many ask at the same time
      if (turn === this.#turn && !this.#standing) this.#standing = got;
      else got.withdraw();
    }
    return null;
  }

  withdraw(): void {
    this.#turn += 1;
    clearTimeout(this.#timer);
    this.#standing?.withdraw();
    this.#standing = null;
    void this.#takeAnnounced()?.cancel();
  }

  async close(): Promise<void> {
    this.#listener = () => {};
    this.withdraw();
  }

  #onLease(turn: number, lease: HeldLease | null): void {
    if (turn !== this.#turn) {
      void lease?.cancel();
      return;
    }
    this.#standing = null;
    if (lease) {
      const timer = setTimeout(() => void this.#takeAnnounced()?.cancel(), FETCH_WITHIN_MS).unref();
      this.#announced = { lease, timer };
    }
    this.#listener();
  }

  #takeAnnounced(): HeldLease | null {
    const announced = this.#announced;
    this.#announced = null;
    clearTimeout(announced?.timer);
    return announced && !announced.lease.isLost ? announced.lease : null;
  }

  #callIn(inMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#listener(), Math.min(Math.ceil(inMs) + 1, MAX_TIMER_MS)).unref();
  }
}

function leaseOf(held: HeldLease): Lease {
  return {
    release: () => void held.release(),
    cancel: () => void held.cancel(),
    get lost() {
      return hasLeases(held.definition.type) ? held.signal : undefined;
    },
  };
}
