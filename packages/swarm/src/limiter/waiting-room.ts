/**
 * This process's waiters. Redis says when one is let in; this is what holds if it does not: now and then, and
 * after each reconnect, Redis is asked about all that wait here for one limiter, in one call. That call also lets
 * in whom time has made room for: whose lease ended with its owner, or whose rate has room again.
 */
import type { Definition } from './definition.js';
import { type AcquireMode, MAX_IDS, type Operations } from './operations.js';
import type { Waiter } from './waiter.js';

/** Nothing that was missed stays missed for longer. */
const LOOK_AT_LATEST_MS = 5_000;
const RETRY_MS = 1_000;

interface Queue {
  definition: Definition;
  waiters: Set<Waiter>;
  timer: NodeJS.Timeout | undefined;
  dueAtMs: number;
}

export class WaitingRoom {
  readonly #operations: Operations;
  readonly #onLook: () => void;
  readonly #byId = new Map<string, Waiter>();
  readonly #queues = new Map<string, Queue>();

  /** @param onLook Redis has said nothing for a while, and is asked */
  constructor(operations: Operations, onLook: () => void) {
    this.#operations = operations;
    this.#onLook = onLook;
  }

  enter(waiter: Waiter): void {
    this.#byId.set(waiter.id, waiter);
    const { definition } = waiter;
    let queue = this.#queues.get(definition.name);
    if (!queue) {
      queue = { definition, waiters: new Set(), timer: undefined, dueAtMs: Number.POSITIVE_INFINITY };
      this.#queues.set(definition.name, queue);
    }
    queue.waiters.add(waiter);
  }

  exit(waiter: Waiter): void {
    this.#byId.delete(waiter.id);
    const queue = this.#queues.get(waiter.definition.name);
    if (!queue?.waiters.delete(waiter) || queue.waiters.size > 0) return;
    clearTimeout(queue.timer);
    this.#queues.delete(waiter.definition.name);
  }

  has(name: string): boolean {
    return this.#queues.has(name);
  }

  /** Who is not here any more has decided otherwise, and said so to Redis itself. */
  granted(id: string, endsAtMs: number, takenAtMs: number | null = null): void {
    this.#byId.get(id)?.settle({ kind: 'granted', counter: 'waited', endsAtMs, takenAtMs });
  }

  /** Asks Redis for a place. An answer that nobody wants any more is undone. Resolves to whether to ask again. */
  async ask(waiter: Waiter, mode: AcquireMode): Promise<boolean> {
    const { definition, id, place } = waiter;
    const answer = await this.#operations.acquire(definition, id, mode, place);
    switch (answer.kind) {
      case 'granted': {
        const { endsAtMs, nowMs: takenAtMs } = answer;
        const counter = place === '' ? 'immediate' : 'waited';
        await this.#grantOrCancel(waiter, endsAtMs, takenAtMs, counter);
        return false;
      }
      case 'waits':
        waiter.place = answer.place;
        waiter.isQueued = true;
        waiter.lookInMs = answer.lookInMs;
        if (waiter.outcome) await this.#leave(waiter);
        else if (waiter.leftMs <= 0) await this.giveUp(waiter);
        else this.lookIn(definition.name, answer.lookInMs);
        return false;
      case 'refused':
        waiter.settle(answer);
        return false;
      case 'ask again':
        waiter.place = answer.place;
        return true;
    }
  }

  /** Its time is up. If Redis let it in meanwhile, that is its outcome. */
  async giveUp(waiter: Waiter): Promise<void> {
    // the answer that will put it in the queue finds it overdue
    if (!waiter.isQueued || waiter.outcome) return;
    try {
      const { definition, id } = waiter;
      const granted = await this.#operations.leave(definition, id, { counts: true });
      if (!granted) waiter.settle({ kind: 'refused', retryInMs: null });
      else await this.#grantOrCancel(waiter, granted.endsAtMs, granted.nowMs, 'waited');
    } catch (error) {
      waiter.settle({ kind: 'failed', error });
    }
  }

  /** What comes too late, after an outage, would be held by nobody. */
  async #grantOrCancel(
    waiter: Waiter,
    endsAtMs: number,
    takenAtMs: number,
    counter: 'immediate' | 'waited',
  ): Promise<void> {
    waiter.settle({ kind: 'granted', counter, endsAtMs, takenAtMs });
    if (waiter.outcome?.kind === 'granted') return;
    await this.#operations.cancel(waiter.definition, waiter.id, takenAtMs, counter);
  }

  /** It does not want to wait any more; what it was granted meanwhile goes to the next. */
  withdraw(waiter: Waiter): void {
    if (waiter.outcome) return;
    waiter.settle({ kind: 'withdrawn' });
    if (waiter.isQueued) this.#leave(waiter).catch(ignore);
  }

  async #leave({ definition, id, outcome }: Waiter): Promise<void> {
    const granted = await this.#operations.leave(definition, id, { counts: false });
    if (granted && outcome?.kind !== 'granted') {
      await this.#operations.cancel(definition, id, granted.nowMs, 'waited');
    }
  }

  /** The sooner of two counts. */
  lookIn(name: string, inMs: number): void {
    const queue = this.#queues.get(name);
    if (!queue) return;
    // a timer may fire a moment early, and would look in vain
    const waitMs = Math.ceil(Math.min(Math.max(inMs, 0), LOOK_AT_LATEST_MS)) + 1;
    const dueAtMs = performance.now() + waitMs;
    if (dueAtMs >= queue.dueAtMs) return;
    clearTimeout(queue.timer);
    queue.dueAtMs = dueAtMs;
    queue.timer = setTimeout(() => void this.#look(queue), waitMs);
  }

  lookNow(): void {
    for (const name of this.#queues.keys()) this.lookIn(name, 0);
  }

  async #look(queue: Queue): Promise<void> {
    queue.dueAtMs = Number.POSITIVE_INFINITY;
    const { definition } = queue;
    const asked = [...queue.waiters]
      .filter(({ isQueued, outcome }) => isQueued && !outcome)
      .slice(0, MAX_IDS);
    this.#onLook();
    try {
      const ids = asked.map(({ id }) => id);
      const { lookInMs, nowMs, states } = await this.#operations.look(definition, ids);
      for (const [at, waiter] of asked.entries()) {
        const state = states[at];
        if (state?.kind === 'granted') this.granted(waiter.id, state.endsAtMs, nowMs);
        if (state?.kind === 'absent' && !waiter.outcome) await this.ask(waiter, 'wait');
      }
      this.lookIn(definition.name, lookInMs < 0 ? LOOK_AT_LATEST_MS : lookInMs);
    } catch {
      // whoever waits is told by its own deadline
      this.lookIn(definition.name, RETRY_MS);
    }
  }
}

function ignore(): void {}
