/** The operations of operations.lua, each one call of one script, which runs in the limiter's slot of a cluster. */
import { usageError } from '../errors.js';
import type { LimiterRedis } from './client.js';
import { type Definition, scriptOf } from './definition.js';
import type { RedisClock } from './redis-clock.js';
import { lazyScript } from './script.js';

const HAND_OVER = lazyScript('hand-over');
const CONFIRM = lazyScript('confirm');

/** What an id says: for how long a lease is asked for, how long it is waited for, what it costs. */
export interface Terms {
  leaseMs: number;
  waitMs: number;
  cost: number;
}

/** `wait`: in the queue if need be. `ask`: it will be asked again, at the place that it is given. `once`: never. */
export type AcquireMode = 'wait' | 'ask' | 'once';

/** In one call: Lua unpacks no more than some thousands, and nobody else is served meanwhile. */
export const MAX_IDS = 500;

export type AcquireAnswer =
  /** `endsAtMs` by Redis's clock. */
  | { kind: 'granted'; endsAtMs: number; nowMs: number; sentAtMs: number }
  | { kind: 'waits'; place: string; lookInMs: number }
  | { kind: 'ask again'; place: string }
  | { kind: 'refused'; retryInMs: number | null };

/** `absent`: no longer in the queue, and without a lease. */
export type WaiterState = { kind: 'waits' } | { kind: 'absent' } | { kind: 'granted'; endsAtMs: number };

export interface OperationsListener {
  /** `replaced`: this definition came into force, and that one was; `overruled`: that one is in force. */
  onDefinition(definition: Definition, what: 'replaced' | 'overruled', other: string): void;
}

export interface RawStatus {
  inForce: string;
  used: number;
  waiting: number;
  roomInMs: number;
  counters: LimiterCounters;
}

/** Since the limiter was last idle for a quarter of an hour, or reset. */
export interface LimiterCounters {
  /** Let in at once. */
  immediate: number;
  /** Let in after a wait; how long all of them waited. */
  waited: number;
  waitMs: number;
  /** Leases given back; how long all of them were held. */
  holds: number;
  holdMs: number;
  /** Not let in. */
  overages: number;
  /** Leases that ended without being given back. */
  reclaimed: number;
}

export class Operations {
  readonly #client: Pick<LimiterRedis, 'eval' | 'evalsha' | 'isCluster'>;
  readonly #owner: string;
  readonly #clock: RedisClock;
  readonly #listener: OperationsListener;

  constructor(
    client: Pick<LimiterRedis, 'eval' | 'evalsha' | 'isCluster'>,
    owner: string,
    clock: RedisClock,
    listener: OperationsListener,
  ) {
    this.#client = client;
    this.#owner = owner;
    this.#clock = clock;
    this.#listener = listener;
  }

  /** @param place that of one that asked or waited before, else '' */
  async acquire(of: Definition, id: string, mode: AcquireMode, place = ''): Promise<AcquireAnswer> {
    const { nowMs, sentAtMs, answer } = await this.#run(of, 'acquire', id, mode, place);
    const [kind, first, second] = answer;
    switch (kind) {
      case 'granted':
        return { kind, endsAtMs: Number(first), nowMs, sentAtMs };
      case 'waits':
        return { kind, place: String(first), lookInMs: Number(second) };
      case 'refused':
        return { kind, retryInMs: Number(first) < 0 ? null : Number(first) };
      default:
        return { kind: 'ask again', place: String(first) };
    }
  }

  async release(of: Definition, id: string, heldMs: number): Promise<void> {
    const held = String(Math.max(0, Math.round(heldMs)));
    const sentAtMs = performance.now();
    const now = await HAND_OVER.get().run(this.#client, of.keys, [
      id,
      held,
      this.#countsListeners,
      this.#owner,
    ]);
    this.#clock.saw(Number(now), sentAtMs, performance.now());
  }

  /** As if it had never been. @param takenAtMs by Redis's clock @param counter what counted it */
  async cancel(
    of: Definition,
    id: string,
    takenAtMs: number,
    counter: 'immediate' | 'waited',
  ): Promise<void> {
    await this.#run(of, 'cancel', id, String(takenAtMs), counter);
  }

  /** What it took in truth; the id says what was charged. */
  async used(of: Definition, id: string, cost: number): Promise<void> {
    await this.#run(of, 'used', id, String(cost));
  }

  /** Whether a lease that was granted for a moment could be made as long as it was asked for. */
  async confirm(of: Definition, id: string, leaseMs: number): Promise<{ isHeld: boolean; sentAtMs: number }> {
    const sentAtMs = performance.now();
    const reply = await CONFIRM.get().run(this.#client, of.keys.slice(2, 3), [id, String(leaseMs)]);
    const [now, confirmed] = reply as [string, number];
    this.#clock.saw(Number(now), sentAtMs, performance.now());
    return { isHeld: confirmed === 1, sentAtMs };
  }

  /** @returns those that are lost, and when it was asked (monotonic) */
  async renew(of: Definition, ids: readonly string[]): Promise<{ lost: string[]; sentAtMs: number }> {
    const { answer, sentAtMs } = await this.#run(of, 'renew', ...ids);
    return { lost: answer[0] as string[], sentAtMs };
  }

  /** No longer waits; if it was let in meanwhile, it has a lease. */
  async leave(
    of: Definition,
    id: string,
    { counts }: { counts: boolean },
  ): Promise<Extract<AcquireAnswer, { kind: 'granted' }> | null> {
    const { nowMs, sentAtMs, answer } = await this.#run(of, 'leave', counts ? 'count' : '', id);
    return answer[0] === 'granted' ? { kind: 'granted', endsAtMs: Number(answer[1]), nowMs, sentAtMs } : null;
  }

  async look(
    of: Definition,
    ids: readonly string[],
  ): Promise<{ lookInMs: number; nowMs: number; states: WaiterState[] }> {
    const { answer, nowMs } = await this.#run(of, 'look', ...ids);
    const states = (answer[1] as string[]).map((state): WaiterState => {
      if (state === 'waits' || state === 'absent') return { kind: state };
      return { kind: 'granted', endsAtMs: Number(state) };
    });
    return { lookInMs: Number(answer[0]), nowMs, states };
  }

  /** Frees what owners of such names hold, and takes them out of the queue. Returns how many leases there were. */
  async free(of: Definition, ownerPrefix: string): Promise<number> {
    const { answer } = await this.#run(of, 'free', ownerPrefix);
    return Number(answer[0] ?? 0);
  }

  /** null: there is none of that name. */
  async status(of: Definition, cost: number): Promise<RawStatus | null> {
    const { answer, note } = await this.#run(of, 'status', `-/0/0/0/${cost}`);
    return note === 'unknown' ? null : decodeStatus(answer);
  }

  async reset(of: Definition): Promise<void> {
    await this.#run(of, 'reset');
  }

  async #run(of: Definition, operation: string, ...args: string[]): Promise<Reply> {
    const sentAtMs = performance.now();
    const common = [operation, of.text, this.#owner, String(sentAtMs), this.#countsListeners, of.name];
    const reply = await scriptOf(of.type).run(this.#client, of.keys, [...common, ...args]);
    const [now, note, ...answer] = reply as [string, string, ...unknown[]];
    const nowMs = Number(now);
    this.#clock.saw(nowMs, sentAtMs, performance.now());
    this.#heed(of, note);
    return { nowMs, sentAtMs, note, answer };
  }

  /** A cluster's node knows only who listens to itself. */
  get #countsListeners(): string {
    return this.#client.isCluster ? '' : '1';
  }

  #heed(of: Definition, note: string): void {
    const [, what, other] = /^(replaced|overruled|conflict) (.*)$/.exec(note) ?? [];
    if (what === undefined || other === undefined) return;
    if (what === 'conflict') throw conflict(of, other);
    this.#listener.onDefinition(of, what as 'replaced' | 'overruled', other);
  }
}

interface Reply {
  nowMs: number;
  sentAtMs: number;
  note: string;
  answer: unknown[];
}

function decodeStatus([inForce, used, waiting, roomInMs, counters]: unknown[]): RawStatus {
  const [immediate = 0, waited = 0, waitMs = 0, holds = 0, holdMs = 0, overages = 0, reclaimed = 0] = (
    counters as string[]
  ).map(Number);
  return {
    inForce: String(inForce),
    used: Number(used),
    waiting: Number(waiting),
    roomInMs: Number(roomInMs),
    counters: { immediate, waited, waitMs, holds, holdMs, overages, reclaimed },
  };
}

function conflict({ name, text }: Definition, other: string): Error {
  return usageError(
    'SWARM_LIMITER_CONFLICT',
    `limiter ${JSON.stringify(name)} is in use as "${other}", and this process defines it as "${text}" as well: ` +
      'give one of them another name, or call reset() on the one that is meant',
  );
}
