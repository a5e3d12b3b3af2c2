/**
 * All that this process does with limiters on one Redis: asks, waits, holds, renews, gives back.
 *
 * A place is granted for a moment only (GRANT_MS in head.lua) to a waiter whose process was not heard of of late, and
 * confirmed before the work begins, by a renewal that is sent and not waited for: a waiter that is dead, stopped or cut
 * off keeps it from the others for no longer than that. It is waited for where the message may have been late.
 */
import { redisError, SwarmError } from '../errors.js';
import type { LimiterRedis, WakeRedis } from './client.js';
import { type Definition, hasLeases } from './definition.js';
import { HeldLease } from './held-lease.js';
import { LeaseIndex, limitersOf } from './lease-index.js';
import { announceUse } from './meeting.js';
import { Operations, type RawStatus, type Terms } from './operations.js';
import { owner, ownersPrefix } from './owner.js';
import { RedisClock } from './redis-clock.js';
import { Renewals } from './renewals.js';
import { tellOfDefinition } from './take-over.js';
import { UseLog } from './use-log.js';
import { type Outcome, Waiter } from './waiter.js';
import { WaitingRoom } from './waiting-room.js';
import { Wakes } from './wakes.js';

/** As long as Redis may take to answer, besides what is waited for anyway. */
const ANSWER_MS = 5_000;
/** With so much left of a lease, its confirmation is not waited for. */
const CERTAIN_MS = 1_000;
/** With so much left, it needs none. */
const CONFIRMED = 3 / 4;

type Granted = Extract<Outcome, { kind: 'granted' }>;
export type Refusal = Extract<Outcome, { kind: 'refused' }>;

/** A place in the queue, of somebody who has other things to do. */
export interface Standing {
  kind: 'waits';
  /** When time alone makes room; null: nobody can say. */
  roomInMs: number | null;
  withdraw(): void;
}

export class Hub {
  readonly #client: LimiterRedis;
  readonly #owner = owner();
  readonly #clock = new RedisClock();
  readonly #operations: Operations;
  readonly #renewals: Renewals;
  readonly #room: WaitingRoom;
  readonly #wakes: Wakes;
  readonly #index: LeaseIndex | null;
  readonly #useLog: UseLog;
  /** How many leases this process holds, by limiter. */
  readonly #held = new Map<string, number>();

  /** @param connectWakes opens the connection on which those who wait are woken */
  constructor(client: LimiterRedis, connectWakes: () => WakeRedis) {
    this.#client = client;
    const { name, child } = this.#owner;
    this.#operations = new Operations(client, name, this.#clock, { onDefinition: tellOfDefinition });
    this.#renewals = new Renewals(this.#operations);
    this.#room = new WaitingRoom(this.#operations, () => this.#wakes.check());
    this.#wakes = new Wakes(connectWakes, name, {
      onGranted: (id, endsAtMs) => this.#room.granted(id, endsAtMs),
      onLook: (limiter, inMs) => this.#room.lookIn(limiter, inMs),
      onReconnected: () => this.#room.lookNow(),
    });
    const isInUse = (limiter: string): boolean => this.#held.has(limiter) || this.#room.has(limiter);
    this.#index = child === null ? null : new LeaseIndex(client, child, isInUse);
    this.#useLog = new UseLog(client);
  }

  /**
   * A lease, or why there is none. Waits for at most `terms.waitMs`, 0: not at all. Rejects with the signal's
   * reason, or with `SWARM_LIMITER_REDIS` when Redis does not answer, or refuses.
   */
  async acquire(
    definition: Definition,
    terms: Terms,
    signal?: AbortSignal,
    before?: { place: string; sinceMs: number },
  ): Promise<HeldLease | Refusal> {
    signal?.throwIfAborted();
    const indexed = this.#note(definition);
    if (indexed) await indexed;
    const waiter = new Waiter(definition, terms, this.#owner.name, before);
    const stop = this.#limit(waiter, signal);
    this.#room.enter(waiter);
    try {
      void this.#ask(waiter);
      const outcome = await waiter.decided;
      if (outcome.kind === 'withdrawn') throw signal?.reason;
      if (outcome.kind === 'failed') throw explain(outcome.error, definition);
      if (outcome.kind === 'refused') return outcome;
      const lease = await this.#begin(waiter, outcome);
      if (lease) return lease;
    } finally {
      stop();
      this.#room.exit(waiter);
    }
    // its grant ended before it was heard of: back to the same place
    if (waiter.leftMs <= 0) return { kind: 'refused', retryInMs: null };
    return this.acquire(definition, terms, signal, waiter);
  }

  /**
   * As `acquire`, but returns as soon as it is known that there is none at once. `onLease` gets the lease when its turn
   * has come; null: its turn was missed.
   */
  async stand(
    definition: Definition,
    terms: Terms,
    onLease: (lease: HeldLease | null) => void,
  ): Promise<HeldLease | Refusal | Standing> {
    const indexed = this.#note(definition);
    if (indexed) await indexed;
    const waiter = new Waiter(definition, terms, this.#owner.name);
    const late = setTimeout(() => {
      if (!waiter.isQueued) waiter.settle({ kind: 'failed', error: unanswered(definition) });
    }, ANSWER_MS);
    this.#room.enter(waiter);
    await Promise.race([this.#ask(waiter), waiter.decided]);
    clearTimeout(late);
    const lease = waiter.decided
      .then((outcome) => (outcome.kind === 'granted' ? this.#begin(waiter, outcome) : null))
      .finally(() => this.#room.exit(waiter));
    const { outcome } = waiter;
    if (!outcome) {
      const tell = (begun: HeldLease | null): void => {
        if (waiter.outcome?.kind !== 'withdrawn') onLease(begun);
      };
      lease.then(tell, () => tell(null));
      const roomInMs = hasLeases(definition.type) ? null : waiter.lookInMs;
      return { kind: 'waits', roomInMs, withdraw: () => this.#room.withdraw(waiter) };
    }
    if (outcome.kind === 'failed') throw explain(outcome.error, definition);
    return (await lease) ?? (outcome.kind === 'refused' ? outcome : { kind: 'refused', retryInMs: 0 });
  }

  /** null: nobody has used it for a while. */
  async status(definition: Definition, cost: number): Promise<RawStatus | null> {
    return answered(definition, this.#operations.status(definition, cost));
  }

  async reset(definition: Definition): Promise<void> {
    return answered(definition, this.#operations.reset(definition));
  }

  /** Frees what a child holds: one that is dead, or this one before it leaves. Returns how many leases. */
  async free(child: string): Promise<number> {
    const limiters = await limitersOf(this.#client, child);
    const prefix = ownersPrefix(child);
    const freed = await Promise.all(limiters.map((limiter) => this.#operations.free(limiter, prefix)));
    return freed.reduce((sum, count) => sum + count, 0);
  }

  get isHolding(): boolean {
    return this.#held.size > 0;
  }

  /** Gives back what this process holds. Nobody may wait any more. */
  async close(): Promise<void> {
    await Promise.all(this.#renewals.leases.map((lease) => lease.release()));
    this.#wakes.close();
    this.#index?.close();
    await this.#useLog.close();
  }

  #note(definition: Definition): Promise<unknown> | null {
    this.#useLog.note(definition);
    if (!this.#index) return null;
    announceUse();
    return this.#index.add(definition);
  }

  /** Resolves when the waiter has a place, or an outcome. It is put in the queue only when its call would be heard. */
  async #ask(waiter: Waiter): Promise<void> {
    try {
      if (waiter.terms.waitMs === 0) {
        await this.#room.ask(waiter, 'once');
        return;
      }
      if (!this.#wakes.isListening) {
        const isNew = waiter.place === '';
        if (isNew && !(await this.#room.ask(waiter, 'ask'))) return;
        await this.#wakes.listen();
        if (waiter.outcome) return;
      }
      await this.#room.ask(waiter, 'wait');
    } catch (error) {
      waiter.settle({ kind: 'failed', error });
    }
  }

  /** Ends the wait in time, or at the signal. */
  #limit(waiter: Waiter, signal: AbortSignal | undefined): () => void {
    const { definition, terms } = waiter;
    const giveUp = setTimeout(() => {
      waiter.settle({ kind: 'failed', error: unanswered(definition) });
    }, waiter.leftMs + ANSWER_MS);
    const timeUp =
      terms.waitMs > 0 ? setTimeout(() => void this.#room.giveUp(waiter), waiter.leftMs) : undefined;
    const onAbort = (): void => this.#room.withdraw(waiter);
    signal?.addEventListener('abort', onAbort, { once: true });
    return () => {
      clearTimeout(giveUp);
      clearTimeout(timeUp);
      signal?.removeEventListener('abort', onAbort);
    };
  }

  /** null: it ended before it was heard of. */
  async #begin(waiter: Waiter, { endsAtMs, takenAtMs, counter }: Granted): Promise<HeldLease | null> {
    const { id, definition, terms } = waiter;
    const validUntilMs = this.#clock.atEarliest(endsAtMs);
    const lease = new HeldLease(
      { id, definition, terms, counter, takenAtMs: takenAtMs ?? endsAtMs, validUntilMs },
      { operations: this.#operations, renewals: this.#renewals, onEnd: () => this.#count(definition, -1) },
    );
    this.#count(definition, 1);
    if (!hasLeases(definition.type)) return lease;
    const leftMs = validUntilMs - performance.now();
    const isConfirmed = leftMs >= terms.leaseMs * CONFIRMED;
    if (isConfirmed || leftMs >= CERTAIN_MS) {
      this.#renewals.add(lease);
      // one that fails is tried again with the next renewal
      if (!isConfirmed) this.#renewals.confirm(lease).catch(ignore);
      return lease;
    }
    if (await this.#renewals.confirm(lease).catch(() => false)) {
      // not before: it may have ended by what is known until then
      this.#renewals.add(lease);
      return lease;
    }
    await lease.release();
    return null;
  }

  #count({ name, type }: Definition, change: 1 | -1): void {
    if (!hasLeases(type)) return;
    const held = (this.#held.get(name) ?? 0) + change;
    if (held > 0) this.#held.set(name, held);
    else this.#held.delete(name);
  }
}

async function answered<T>(definition: Definition, answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(unanswered(definition)), ANSWER_MS);
  });
  try {
    return await Promise.race([answer, late]);
  } catch (error) {
    throw explain(error, definition);
  } finally {
    clearTimeout(timer);
  }
}

function unanswered({ name }: Definition): Error {
  return redisError(
    'SWARM_LIMITER_REDIS',
    `limiter ${JSON.stringify(name)}: Redis did not answer within ${ANSWER_MS} ms`,
  );
}

/** What is not ours is what Redis says, or the way to it. */
function explain(error: unknown, { name }: Definition): unknown {
  if (error instanceof SwarmError) return error;
  const said = error instanceof Error ? error.message : String(error);
  return redisError(
    'SWARM_LIMITER_REDIS',
    `limiter ${JSON.stringify(name)}: Redis cannot be asked: ${said}`,
    error,
  );
}

function ignore(): void {}
