/**
 * Keeps the places of a child busy with the jobs of all of its queues, in their order.
 *
 * There are as many places as jobs may run at once, and a job is fetched only by a free one, so their number is never
 * exceeded. A place that ends a job chooses its next queue first: if that is the same, one script ends the job and
 * fetches the next. A free place fetches where there is a sign of a job; where there is none, `signs.ts` waits for one.
 *
 * Rejected: a loop a place. Each of them would wait for itself, and who waits for what would be nowhere.
 */

import { blockJobs, type Order, pick } from './order.js';
import { Place, PumpQueue, type PumpQueueOptions } from './pump-queue.js';
import { type Marks, Signs } from './signs.js';

/** After a fetch that Redis refused. */
const REFUSED_MS = 1_000;
/** Weight of the last job in what jobs are taken to last. */
const JOB_MS_SHARE = 0.05;

/** Whether the child may fetch at all; see `alone.ts`. */
export interface FetchPermit {
  readonly isOpen: boolean;
  tryFetch(): boolean;
  endFetch(): void;
}

export interface PumpOptions<Job> {
  queues: readonly PumpQueueOptions<Job>[];
  order: Order;
  /** How many jobs at once. */
  places: number;
  marks: Marks;
  permit: FetchPermit;
  onError(error: unknown, queue: number | null): void;
  nowMs(): number;
  /** Returns what cancels it. */
  after(delayMs: number, then: () => void): () => void;
  /** When what is about to begin has begun. */
  soon(then: () => void): void;
  random(): number;
}

export class Pump<Job> {
  readonly #options: PumpOptions<Job>;
  readonly #queues: readonly PumpQueue<Job>[];
  readonly #free: Place[];
  readonly #signs: Signs;
  #state: 'idle' | 'running' | 'stopped' = 'idle';
  /** Fetches under way. */
  #fetching = 0;
  #turnsSoon = false;
  /** What a job has taken of late. */
  #jobMs = 0;
  #onIdle: (() => void)[] = [];

  constructor(options: PumpOptions<Job>) {
    this.#options = options;
    this.#queues = options.queues.map((queue) => new PumpQueue(queue));
    this.#free = Array.from({ length: options.places }, () => new Place());
    const { marks, permit, nowMs, after, onError } = options;
    this.#signs = new Signs({
      queues: this.#queues as readonly PumpQueue<never>[],
      marks,
      isRunning: () => this.#state === 'running',
      hasFreePlace: () => this.#free.length > 0,
      mayFetch: () => permit.isOpen,
      onNews: () => this.turn(),
      onWaited: () => this.#tellIdle(),
      onError: (error) => onError(error, null),
      nowMs,
      after,
    });
    for (const [at, { gate }] of this.#queues.entries()) gate?.onRoom(() => this.#onRoom(at));
  }

  get queues(): readonly PumpQueue<Job>[] {
    return this.#queues;
  }

  /** Resolves when it knows what there is, and has begun to take it. */
  async start(): Promise<void> {
    if (this.#state !== 'idle') return;
    this.#state = 'running';
    await this.#signs.look(true);
  }

  /** Takes nothing any more; what runs goes on. There is no way back. */
  stop(): void {
    if (this.#state === 'stopped') return;
    this.#state = 'stopped';
    for (const queue of this.#queues) queue.withdraw();
    this.#signs.stop();
    this.#tellIdle();
  }

  /** Resolves when nothing runs, and nothing is waited for. */
  async whenIdle(): Promise<void> {
    if (!this.#isIdle()) await new Promise<void>((resolve) => this.#onIdle.push(resolve));
  }

  /** Why nothing is fetched from this queue for now although it may have jobs; null: nothing keeps it. */
  heldUp(at: number): string | null {
    const nowMs = this.#options.nowMs();
    if (this.#state !== 'running') return 'nothing is taken any more';
    if (!this.#options.permit.isOpen) return 'a job runs alone';
    if (this.#free.length === 0) return 'all places are taken';
    const isStrict = this.#options.order.weights === null;
    if (isStrict && this.#queues.slice(0, at).some((before) => before.isOpen(nowMs, 0)))
      return 'queues before it have jobs';
    return this.#queues[at]?.heldUp(nowMs) ?? null;
  }

  pause(at: number): void {
    const queue = this.#queues[at] as PumpQueue<Job>;
    queue.isPaused = true;
    queue.withdraw();
    this.#signs.drop(at);
    this.#signs.giveMarksBack();
  }

  resume(at: number): void {
    const queue = this.#queues[at] as PumpQueue<Job>;
    if (!queue.isPaused) return;
    queue.isPaused = false;
    queue.known.sign();
    this.turn();
  }

  /** Markers may have been taken that nobody heard of. */
  signsWereLost(): void {
    void this.#signs.look(true);
  }

  /** Something has changed: gives free places what there is to do, and waits if there is nothing. */
  turn(): void {
    if (this.#state !== 'running') return;
    const nowMs = this.#options.nowMs();
    while (this.#free.length > 0) {
      const place = this.#free.at(-1) as Place;
      const at = this.#choose(place, nowMs, -1);
      const queue = this.#queues[at];
      if (!queue) break;
      if (queue.known.hint <= 0) {
        // what a fetch of it that is under way takes is not there for others: the turn after that knows more
        if (queue.fetching === 0) void this.#signs.look(false);
        return;
      }
      this.#take(queue);
      this.#free.pop();
      void this.#serve(place, at);
    }
    this.#signs.giveMarksBack();
    if (this.#free.length > 0 && this.#fetching === 0) this.#signs.wait(nowMs);
  }

  /** A job that is there begins first: what free places ask Redis then is not what it waits for. */
  #turnSoon(): void {
    if (this.#turnsSoon || this.#free.length === 0) return;
    this.#turnsSoon = true;
    this.#options.soon(() => {
      this.#turnsSoon = false;
      this.turn();
    });
  }

  async #serve(place: Place, first: number): Promise<void> {
    for (let at = first; at >= 0; at = await this.#next(place)) {
      const queue = this.#queues[at] as PumpQueue<Job>;
      let job = await this.#fetch(place, queue, at);
      const ran = job !== null;
      while (job !== null) job = await this.#run(place, queue, at, job);
      place.lease?.release();
      place.lease = null;
      queue.taken -= 1;
      if (ran && queue.known.isCapped && !place.fetchesOn) this.#onRoomInCapped(queue);
    }
    this.#free.push(place);
    this.turn();
    this.#tellIdle();
  }

  /** Where the place goes on; -1: nowhere, it is free. */
  async #next(place: Place): Promise<number> {
    if (this.#state !== 'running') return -1;
    if (place.mustLook) {
      place.mustLook = false;
      await this.#signs.look(false);
    }
    const nowMs = this.#options.nowMs();
    const { planned } = place;
    place.planned = -1;
    const at = this.#isOpen(planned, nowMs, -1) ? planned : this.#choose(place, nowMs, -1);
    const queue = this.#queues[at];
    if (!queue) return -1;
    // with others free beside it, they look before they fetch
    if (this.#free.length > 0 && queue.known.hint <= 0) return -1;
    this.#take(queue);
    return at;
  }

  /** Before anybody else chooses: what is taken is not there for others. */
  #take(queue: PumpQueue<Job>): void {
    queue.taken += 1;
    queue.known.hint -= 1;
  }

  async #fetch(place: Place, queue: PumpQueue<Job>, at: number): Promise<Job | null> {
    this.#fetching += 1;
    queue.fetching += 1;
    let job: Job | null = null;
    try {
      const admitted = queue.gate === null || (await this.#admit(place, queue));
      if (admitted && this.#options.permit.tryFetch()) {
        queue.owesMark = false;
        job = await queue.source.fetch().finally(() => this.#options.permit.endFetch());
      }
    } catch (error) {
      this.#onRefused(queue, at, error);
    }
    this.#fetching -= 1;
    queue.fetching -= 1;
    if (job === null) {
      place.lease?.cancel();
      place.lease = null;
      place.left = 0;
      if (!queue.known.ready) queue.withdraw();
    }
    this.#signs.setTimer(at);
    if (job !== null) this.#turnSoon();
    // one that came while this fetch took the last place
    if (this.#free.length === 0) this.#signs.giveMarksBack();
    return job;
  }

  async #admit(place: Place, queue: PumpQueue<Job>): Promise<boolean> {
    const { rooms } = queue;
    place.lease = (await queue.gate?.tryAcquire()) ?? null;
    if (place.lease === null) {
      // room may have been announced, or is not waited for any more, before the refusal came
      queue.isShut = queue.rooms === rooms;
      queue.known.hint = Math.max(queue.known.hint, 1);
      return false;
    }
    return this.#state === 'running' && !queue.isPaused;
  }

  /** Returns the next job of the same queue, if the end of this one has fetched it. */
  async #run(place: Place, queue: PumpQueue<Job>, at: number, job: Job): Promise<Job | null> {
    const startedAtMs = this.#options.nowMs();
    place.asked = false;
    place.fetchesOn = false;
    if (place.left > 0 && place.drawn === at) place.left -= 1;
    let next: Job | null = null;
    try {
      next = await queue.source.process(job, () => this.#fetchesOn(place, queue, at), place.lease);
    } catch (error) {
      this.#options.onError(error, at);
    }
    this.#jobMs += (this.#options.nowMs() - startedAtMs - this.#jobMs) * JOB_MS_SHARE;
    if (place.fetchesOn) {
      this.#options.permit.endFetch();
      if (next === null) {
        queue.known.missed(place.signs);
        place.left = 0;
      }
      this.#signs.setTimer(at);
    }
    if (next !== null) this.#turnSoon();
    return next;
  }

  /** Right before a job's end: whether its queue is where the place goes on. */
  #fetchesOn(place: Place, queue: PumpQueue<Job>, at: number): boolean {
    // an end that failed is tried again
    if (place.asked) return place.fetchesOn;
    place.asked = true;
    if (this.#state !== 'running') return false;
    const nowMs = this.#options.nowMs();
    if (this.#signs.isStale(at, nowMs, this.#options.order.weights === null)) {
      place.mustLook = true;
      return false;
    }
    const next = this.#choose(place, nowMs, at);
    if (next !== at || queue.gate || !this.#options.permit.tryFetch()) {
      place.planned = next;
      return false;
    }
    place.signs = queue.known.signs;
    queue.owesMark = false;
    place.fetchesOn = true;
    return true;
  }

  /** @param leaving index of the queue that the place is about to leave; -1: none */
  #choose(place: Place, nowMs: number, leaving: number): number {
    if (!this.#options.permit.isOpen) return -1;
    if (place.left > 0 && this.#isOpen(place.drawn, nowMs, leaving)) return place.drawn;
    const { order, random, places } = this.#options;
    const isOpen = (at: number): boolean => this.#isOpen(at, nowMs, leaving);
    const left = blockJobs(order, this.#jobMs, places);
    place.drawn = pick(order, isOpen, this.#queues.length, order.weights === null ? 0 : random());
    place.left = left;
    return place.drawn;
  }

  #isOpen(at: number, nowMs: number, leaving: number): boolean {
    return this.#queues[at]?.isOpen(nowMs, at === leaving ? 1 : 0) ?? false;
  }

  /** A global place became free by a job that ended here, and no marker tells of it. */
  #onRoomInCapped(queue: PumpQueue<Job>): void {
    queue.known.sign();
    queue.owesMark = true;
    if (this.#free.length > 0 && this.#state === 'running') this.turn();
    else this.#signs.giveMarksBack();
  }

  #onRoom(at: number): void {
    const queue = this.#queues[at] as PumpQueue<Job>;
    queue.isShut = false;
    queue.rooms += 1;
    const isOfUse =
      this.#state === 'running' && this.#free.length > 0 && queue.isOpen(this.#options.nowMs(), 0);
    if (isOfUse) queue.known.hint = Math.max(queue.known.hint, 1);
    else queue.gate?.withdraw();
    this.turn();
  }

  #onRefused(queue: PumpQueue<Job>, at: number, error: unknown): void {
    this.#options.onError(error, at);
    queue.known.limitedUntilMs = this.#options.nowMs() + REFUSED_MS;
    queue.owesMark = true;
  }

  #isIdle(): boolean {
    return this.#free.length === this.#options.places && !this.#signs.isWaiting;
  }

  #tellIdle(): void {
    if (this.#state === 'stopped' && this.#isIdle()) for (const resolve of this.#onIdle.splice(0)) resolve();
  }
}
