/**
 * A Redis with BullMQ's queues, children, and time, all of them simulated: every command takes a time of its own, in
 * order on each connection, as drawn from the given randomness. A wait for markers never times out here, so a wake-up
 * that is lost is lost for good, and seen.
 */
import { setImmediate as turn } from 'node:timers/promises';
import type { FetchGate, Lease } from '../dist/fetch/gate.js';
import { Known, type Reply, type Sight } from '../dist/fetch/known.js';
import { orderOf } from '../dist/fetch/order.js';
import { Pump } from '../dist/fetch/pump.js';
import type { Mark } from '../dist/fetch/signs.js';

export interface SimJob {
  queue: number;
  id: number;
  runMs: number;
}

/** Time that passes only when everything that can happen now has happened. */
export class World {
  nowMs = 0;
  #events: { atMs: number; order: number; run: () => void; cancelled: boolean }[] = [];
  #order = 0;

  constructor(readonly random: () => number) {}

  after(delayMs: number, run: () => void): () => void {
    const event = { atMs: this.nowMs + delayMs, order: this.#order++, run, cancelled: false };
    this.#events.push(event);
    return () => {
      event.cancelled = true;
    };
  }

  /** Until nothing is left to happen, or `untilMs`. */
  async run(untilMs = Number.POSITIVE_INFINITY): Promise<void> {
    await turn();
    for (;;) {
      this.#events = this.#events.filter(({ cancelled }) => !cancelled);
      this.#events.sort((a, b) => a.atMs - b.atMs || a.order - b.order);
      const [next] = this.#events;
      if (!next || next.atMs > untilMs) return;
      this.#events.shift();
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.run();
      await turn();
    }
  }
}

class Link {
  #sentMs = 0;
  #repliedMs = 0;

  constructor(readonly world: World) {}

  call<T>(execute: () => T): Promise<T> {
    const { world } = this;
    return new Promise((resolve) => {
      this.#sentMs = Math.max(this.#sentMs, world.nowMs + world.random());
      world.after(this.#sentMs - world.nowMs, () => {
        const result = execute();
        this.#repliedMs = Math.max(this.#repliedMs, world.nowMs + world.random());
        world.after(this.#repliedMs - world.nowMs, () => resolve(result));
      });
    });
  }
}

interface Waiter {
  queues: readonly number[];
  wakeKey: object;
  resolve: (mark: Mark | null) => void;
}

class SimQueue {
  wait: SimJob[] = [];
  delayed: { job: SimJob; atMs: number }[] = [];
  active = new Set<SimJob>();
  isPaused = false;
  cap = Number.POSITIVE_INFINITY;
  /** Member → score. */
  marker = new Map<'0' | '1', number>();
}

export class SimRedis {
  readonly queues: SimQueue[];
  readonly done = new Set<number>();
  readonly #woken = new Set<object>();
  #waiters: Waiter[] = [];

  constructor(
    readonly world: World,
    count: number,
  ) {
    this.queues = Array.from({ length: count }, () => new SimQueue());
  }

  queue(at: number): SimQueue {
    return this.queues[at] as SimQueue;
  }

  add(job: SimJob, delayMs = 0): void {
    const queue = this.queue(job.queue);
    if (delayMs === 0) {
      queue.wait.push(job);
      this.#markJobs(job.queue);
    } else {
      queue.delayed.push({ job, atMs: this.world.nowMs + delayMs });
      queue.delayed.sort((a, b) => a.atMs - b.atMs);
      this.#markDelayed(job.queue);
    }
    this.#serveWaiters();
  }

  pause(at: number, isPaused: boolean): void {
    const queue = this.queue(at);
    queue.isPaused = isPaused;
    if (isPaused) queue.marker.clear();
    else if (queue.wait.length > 0) this.#mark({ queue: at, dueAtMs: 0 });
    else this.#markDelayed(at);
    this.#serveWaiters();
  }

  mark(mark: Mark): void {
    this.#mark(mark);
    this.#serveWaiters();
  }

  /** As in a script: whoever waits is served when that is over, and of one marker that was set twice, one. */
  #mark({ queue, dueAtMs }: Mark): void {
    this.queue(queue).marker.set(dueAtMs === 0 ? '0' : '1', dueAtMs);
  }

  fetch(at: number): { job: SimJob | null; reply: Reply } {
    const queue = this.queue(at);
    this.#promote(at);
    const isOpen = !queue.isPaused && queue.active.size < queue.cap;
    const job = (isOpen && queue.wait.shift()) || null;
    if (job) {
      queue.active.add(job);
      this.#mark({ queue: at, dueAtMs: 0 });
    }
    this.#serveWaiters();
    if (job) return { job, reply: { job: true, limitedMs: 0, dueAtMs: 0 } };
    return { job, reply: { job: false, limitedMs: 0, dueAtMs: isOpen ? (queue.delayed[0]?.atMs ?? 0) : 0 } };
  }

  finish(job: SimJob): void {
    if (!this.queue(job.queue).active.delete(job)) throw new Error(`job ${job.id} ended twice`);
    this.done.add(job.id);
  }

  look(at: number): Sight {
    const { wait, delayed, active, isPaused, cap, marker } = this.queue(at);
    const isDue = (delayed[0]?.atMs ?? Number.POSITIVE_INFINITY) <= this.world.nowMs;
    const jobs = wait.length + (isDue ? 1 : 0);
    if (jobs === 0) marker.delete('0');
    return {
      jobs: isPaused || active.size >= cap ? 0 : jobs,
      dueAtMs: isDue ? 0 : (delayed[0]?.atMs ?? 0),
      isCapped: Number.isFinite(cap),
    };
  }

  wait(waiter: Waiter): void {
    this.#waiters.push(waiter);
    this.#serveWaiters();
  }

  wake(wakeKey: object): void {
    this.#woken.add(wakeKey);
    this.#serveWaiters();
  }

  #promote(at: number): void {
    const { delayed, wait } = this.queue(at);
    while (delayed[0] && delayed[0].atMs <= this.world.nowMs) {
      wait.push((delayed.shift() as { job: SimJob }).job);
      this.#markJobs(at);
    }
  }

  #markJobs(at: number): void {
    const queue = this.queue(at);
    if (!queue.isPaused && queue.active.size < queue.cap) this.#mark({ queue: at, dueAtMs: 0 });
  }

  #markDelayed(at: number): void {
    const [first] = this.queue(at).delayed;
    if (first) this.#mark({ queue: at, dueAtMs: first.atMs });
  }

  #serveWaiters(): void {
    this.#waiters = this.#waiters.filter((waiter) => !this.#serve(waiter));
  }

  #serve({ queues, wakeKey, resolve }: Waiter): boolean {
    if (this.#woken.delete(wakeKey)) {
      resolve(null);
      return true;
    }
    for (const at of queues) {
      const { marker } = this.queue(at);
      const [first] = [...marker].sort((a, b) => a[1] - b[1]);
      if (!first) continue;
      marker.delete(first[0]);
      resolve({ queue: at, dueAtMs: first[1] });
      return true;
    }
    return false;
  }
}

/** At most `room` places over all children; who was refused is told, one after the other, when there may be one. */
export class SimLimit {
  taken = 0;
  #waiting: SimGate[] = [];

  constructor(
    readonly world: World,
    readonly room: number,
  ) {}

  gate(): FetchGate {
    return new SimGate(this);
  }

  tryTake(gate: SimGate): boolean {
    if (this.taken < this.room) {
      this.taken += 1;
      return true;
    }
    if (!this.#waiting.includes(gate)) this.#waiting.push(gate);
    return false;
  }

  give(): void {
    this.taken -= 1;
    this.announce();
  }

  announce(): void {
    const next = this.taken < this.room && this.#waiting.shift();
    if (next) this.world.after(this.world.random(), () => next.announced());
  }

  leave(gate: SimGate): void {
    this.#waiting = this.#waiting.filter((other) => other !== gate);
  }
}

class SimGate implements FetchGate {
  #onRoom = (): void => {};
  readonly #link: Link;

  constructor(readonly limit: SimLimit) {
    this.#link = new Link(limit.world);
  }

  async tryAcquire(): Promise<Lease | null> {
    if (!(await this.#link.call(() => this.limit.tryTake(this)))) return null;
    let isHeld = true;
    const give = (): void => {
      if (!isHeld) throw new Error('a lease was given back twice');
      isHeld = false;
      void this.#link.call(() => this.limit.give());
    };
    return { release: give, cancel: give };
  }

  onRoom(listener: () => void): void {
    this.#onRoom = listener;
  }

  announced(): void {
    this.#onRoom();
  }

  withdraw(): void {
    void this.#link.call(() => {
      this.limit.leave(this);
      // what was announced to it is for the next
      this.limit.announce();
    });
  }

  async close(): Promise<void> {}
}

export interface SimChildOptions {
  redis: SimRedis;
  places: number;
  weights: readonly (number | null)[];
  maxActive: readonly (number | null)[];
  limits: readonly (SimLimit | null)[];
  onViolation(what: string): void;
}

export class SimChild {
  readonly pump: Pump<SimJob>;
  /** Jobs begun, by queue. */
  readonly begun: number[];
  running = 0;
  readonly runningOf: number[];
  readonly #options: SimChildOptions;
  readonly #link: Link;

  constructor(options: SimChildOptions) {
    this.#options = options;
    const { redis, places, weights, maxActive, limits, onViolation } = options;
    const { world } = redis;
    this.begun = weights.map(() => 0);
    this.runningOf = weights.map(() => 0);
    this.#link = new Link(world);
    const blocking = new Link(world);
    const wakeKey = {};
    this.pump = new Pump<SimJob>({
      queues: weights.map((_, at) => ({
        source: this.#source(at),
        maxActive: maxActive[at] ?? null,
        gate: limits[at]?.gate() ?? null,
      })),
      order: orderOf(weights),
      places,
      marks: {
        wait: (queues) =>
          new Promise((resolve) => {
            void blocking.call(() => redis.wait({ queues, wakeKey, resolve: later(resolve) }));
          }),
        wake: () => void this.#link.call(() => redis.wake(wakeKey)),
        putBack: (mark) => void this.#link.call(() => redis.mark(mark)),
        look: (queues) => this.#link.call(() => queues.map((at) => redis.look(at))),
      },
      permit: { isOpen: true, tryFetch: () => true, endFetch: () => {} },
      onError: (error) => onViolation(String(error)),
      nowMs: () => world.nowMs,
      after: (delayMs, then) => world.after(delayMs, then),
      soon: (then) => void world.after(0, then),
      random: world.random,
    });

    function later(resolve: (mark: Mark | null) => void): (mark: Mark | null) => void {
      return (mark) => void world.after(world.random(), () => resolve(mark));
    }
  }

  #source(at: number) {
    const { redis } = this.#options;
    const known = new Known();
    const fetchNow = (): SimJob | null => {
      const { job, reply } = redis.fetch(at);
      replies.push(reply);
      return job;
    };
    const replies: Reply[] = [];
    const noted = async (job: Promise<SimJob | null>, signs: number): Promise<SimJob | null> => {
      const came = await job;
      const reply = replies.shift();
      if (reply) known.replied(reply, signs, redis.world.nowMs);
      return came;
    };
    return {
      known,
      fetch: () => noted(this.#link.call(fetchNow), known.signs),
      process: async (job: SimJob, fetchNext: () => boolean) => {
        await this.#run(at, job);
        const fetchesOn = fetchNext();
        const { signs } = known;
        const ended = this.#link.call(() => {
          redis.finish(job);
          return fetchesOn ? fetchNow() : null;
        });
        return fetchesOn ? noted(ended, signs) : ended;
      },
    };
  }

  async #run(at: number, job: SimJob): Promise<void> {
    const { places, maxActive, limits, onViolation, redis } = this.#options;
    this.running += 1;
    this.runningOf[at] = (this.runningOf[at] ?? 0) + 1;
    this.begun[at] = (this.begun[at] ?? 0) + 1;
    if (this.running > places) onViolation(`${this.running} jobs run in ${places} places`);
    if ((this.runningOf[at] ?? 0) > (maxActive[at] ?? places)) onViolation(`too many of queue ${at}`);
    const limit = limits[at];
    if (limit && redis.queue(at).active.size > limit.room) onViolation(`over the limit of queue ${at}`);
    await new Promise<void>((resolve) => {
      redis.world.after(job.runMs, resolve);
    });
    this.running -= 1;
    this.runningOf[at] = (this.runningOf[at] ?? 0) - 1;
  }
}
