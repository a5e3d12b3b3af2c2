/** What every kind of limiter can do. */
import type { FetchGate, FetchLimit, GateSurroundings } from '../fetch/gate.js';
import { allowsText } from './allows.js';
import { hubFor } from './connection.js';
import type { Definition } from './definition.js';
import { badLimiter, positiveNumber, show } from './definition.js';
import { LimiterGate } from './gate.js';
import { HeldLease } from './held-lease.js';
import type { CheckedOptions } from './options.js';
import { OverLimitError } from './over-limit.js';
import { type LimiterStatus, statusOf } from './status.js';

/** For the work that was let in. */
export interface LimitHandle {
  /** Aborted when the lease is lost while the work goes on, and when the caller's own signal is. */
  readonly signal: AbortSignal;
  /** How many points it took in truth; of a `points` limiter, of others without effect. The last call counts. */
  used(points: number): Promise<void>;
}

export interface UseOptions {
  /** Ends the wait; `withinLimit` then rejects with its reason. */
  signal?: AbortSignal | undefined;
  /** Points that are charged before; default: the limiter's own estimate. */
  estimate?: number | undefined;
}

export interface WithinOptions<T> extends UseOptions {
  /** How many points it took in truth: a number, or read from the result. */
  used?: number | ((result: T) => number) | undefined;
}

/** A place that was given; it is yours to give back. */
export interface Lease extends LimitHandle {
  /** A second call does nothing; none rejects. */
  release(): Promise<void>;
}

export class BaseLimiter<Skipped = never> implements FetchLimit {
  readonly name: string;
  readonly #definition: Definition;
  readonly #options: CheckedOptions;
  readonly #leaseMs: number;
  readonly #cost: number;
  #roomInMs: number | null = null;

  constructor(
    definition: Definition,
    options: CheckedOptions,
    { leaseMs, cost }: { leaseMs: number; cost: number },
  ) {
    this.name = definition.name;
    this.#definition = definition;
    this.#options = options;
    this.#leaseMs = leaseMs;
    this.#cost = cost;
  }

  /**
   * Runs `fn` when its turn has come, and gives the place back when it is done. Rejects with what `fn` throws; with an
   * `OverLimitError` where there is no room within `waitTimeoutMs` (with `policy: 'skip'` it resolves to undefined
   * instead); with the reason of `signal`; with a `SwarmError`: `SWARM_LIMITER_REDIS` when Redis cannot be asked,
   * `SWARM_LIMITER_CONFLICT` when the name is in use for something else.
   */
  async withinLimit<T>(
    fn: (handle: LimitHandle) => Promise<T> | T,
    options: WithinOptions<T> = {},
  ): Promise<T | Skipped> {
    if (typeof fn !== 'function')
      throw badLimiter(`limiter ${JSON.stringify(this.name)}: withinLimit takes a function, got ${show(fn)}`);
    const { signal, estimate, used } = options;
    const held = await this.#acquire(this.#options.waitTimeoutMs, { signal, estimate });
    if (!(held instanceof HeldLease)) {
      if (this.#options.policy === 'skip') return undefined as Skipped;
      throw held;
    }
    try {
      const result = await fn(handleOf(held, signal));
      if (used !== undefined) await held.used(this.#points(typeof used === 'number' ? used : used(result)));
      return result;
    } finally {
      await held.release();
    }
  }

  /** A place at once, or null. Rejects as `withinLimit` does when Redis cannot be asked. */
  async tryAcquire(options: UseOptions = {}): Promise<Lease | null> {
    const held = await this.#acquire(0, options);
    if (!(held instanceof HeldLease)) return null;
    return Object.assign(handleOf(held, options.signal), { release: () => held.release() });
  }

  async status(): Promise<LimiterStatus> {
    const hub = await hubFor(this.#options.redis);
    return statusOf(this.#definition, await hub.status(this.#definition, this.#cost));
  }

  /** Forgets all that was used and counted. Who waits keeps its place; who holds a lease loses it unless there is room. */
  async reset(): Promise<void> {
    const hub = await hubFor(this.#options.redis);
    await hub.reset(this.#definition);
  }

  /** For the consumer of a swarm app, as `limit` of a queue or of a job name. */
  openGate(around: GateSurroundings): FetchGate {
    const hub = hubFor(this.#options.redis, {
      client: around.client,
      connect: (name) => around.connect(name),
    });
    const terms = { leaseMs: this.#leaseMs, cost: this.#cost };
    return new LimiterGate(hub, this.#definition, terms, (roomInMs) => {
      this.#roomInMs = roomInMs;
    });
  }

  /** In how many ms a job that came too early is tried again. */
  retryInMs(): number {
    const error = { retryInMs: this.#roomInMs } as OverLimitError;
    return this.#options.reschedule.backoffMs(1, error);
  }

  async #acquire(waitMs: number, { signal, estimate }: UseOptions): Promise<HeldLease | OverLimitError> {
    const cost = estimate === undefined ? this.#cost : this.#points(estimate, 'estimate');
    const opened = hubFor(this.#options.redis);
    // at once where it can be: whoever asks first is first in the queue
    const hub = opened instanceof Promise ? await opened : opened;
    const askedAtMs = performance.now();
    const held = await hub.acquire(this.#definition, { leaseMs: this.#leaseMs, waitMs, cost }, signal);
    if (held instanceof HeldLease) return held;
    return new OverLimitError({
      limiter: this.name,
      allows: allowsText(this.#definition.text),
      waitedMs: waitMs === 0 ? 0 : performance.now() - askedAtMs,
      retryInMs: held.retryInMs,
      policy: this.#options.reschedule,
    });
  }

  #points(value: number, of = 'used'): number {
    if (of === 'used' && value === 0) return 0;
    return positiveNumber(value, { call: `limiter ${JSON.stringify(this.name)}`, of, to: 1e9 });
  }
}

/** Signals are made when they are asked for: most work asks for none. */
function handleOf(held: HeldLease, signal: AbortSignal | undefined): LimitHandle {
  let both: AbortSignal | null = null;
  return {
    get signal() {
      both ??= signal ? AbortSignal.any([held.signal, signal]) : held.signal;
      return both;
    },
    used: (points) => held.used(points),
  };
}
