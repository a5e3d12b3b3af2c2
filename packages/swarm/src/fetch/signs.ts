/**
 * How a child hears of jobs in queues that have none: by one blocking wait for the markers of all of them while places are
 * free, by looks, and by timers for what is known to be due.
 *
 * While no place is free nobody waits, because a marker that is taken is hidden from idle children; then what is known of
 * queues without jobs is renewed by a look, when a job ends, so that order is kept. A marker that is taken without a fetch
 * after it is put back. With that, as long as a queue has jobs that can be fetched, its marker is there or somebody is
 * about to fetch from it: no wake-up is lost. Should one be lost all the same (a reply that never came), the wait's timeout
 * and its reconnect look at every queue.
 */
import type { Sight } from './known.js';
import type { PumpQueue } from './pump-queue.js';

/** What is known of queues without jobs is taken for true for so long while no place is free … */
const STALE_MS = 60;
/** … and renewed from this age on without that anybody waits for it. */
const RENEW_MS = 40;
/** Others look by themselves as often as that. */
const TOLD_MS = 6_000;
/** A longer one would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;
/** After a wait that failed. */
const FAILED_MS = 1_000;

export interface Mark {
  /** Index of the queue. */
  queue: number;
  /** Epoch ms at which its next delayed job is due; 0: it has jobs. */
  dueAtMs: number;
}

/** The markers by which BullMQ says that a queue has jobs, or will have. */
export interface Marks {
  /** Takes the first that is there of these queues; null: none for a while, or `wake()` was called. */
  wait(queues: readonly number[]): Promise<Mark | null>;
  /** Ends the wait. */
  wake(): void;
  putBack(mark: Mark): void;
  /** What these queues have. */
  look(queues: readonly number[]): Promise<Sight[]>;
}

export interface SignsOptions {
  queues: readonly PumpQueue<never>[];
  marks: Marks;
  /** What is found is begun as long as it does. */
  isRunning(): boolean;
  hasFreePlace(): boolean;
  mayFetch(): boolean;
  /** There is news. */
  onNews(): void;
  /** A wait has ended. */
  onWaited(): void;
  onError(error: unknown): void;
  nowMs(): number;
  /** Returns what cancels it. */
  after(delayMs: number, then: () => void): () => void;
}

export class Signs {
  readonly #options: SignsOptions;
  readonly #timers: ({ atMs: number; cancel: () => void } | null)[];
  #waitsFor: ReadonlySet<number> | null = null;
  /** That wait was told to end. */
  #isWoken = false;
  #looking: Promise<void> | null = null;
  #lookedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: SignsOptions) {
    this.#options = options;
    this.#timers = options.queues.map(() => null);
  }

  get isWaiting(): boolean {
    return this.#waitsFor !== null;
  }

  stop(): void {
    for (const timer of this.#timers) timer?.cancel();
    this.giveMarksBack();
    this.#endWait();
  }

  /** Nothing is to be heard of this queue for now. */
  drop(at: number): void {
    if (this.#waitsFor?.has(at)) this.#endWait();
  }

  /** Whether a queue that would come before the one at `at` may have got jobs, and nobody would have heard of it. */
  isStale(at: number, nowMs: number, isStrict: boolean): boolean {
    if (this.#waitsFor) return false;
    const ageMs = nowMs - this.#lookedAtMs;
    if (ageMs < RENEW_MS) return false;
    const { queues } = this.#options;
    const end = isStrict ? at : queues.length;
    for (let other = 0; other < end; other += 1) {
      if (other === at || !queues[other]?.isWatchable(nowMs)) continue;
      if (ageMs >= STALE_MS) return true;
      void this.look(false);
      return false;
    }
    return false;
  }

  /** Looks at the queues of which something is to be learnt, or at all; what it finds is begun. */
  look(all: boolean): Promise<void> {
    this.#looking ??= this.#lookAt(all).then(() => {
      this.#looking = null;
      this.#options.onNews();
    });
    return this.#looking;
  }

  async #lookAt(all: boolean): Promise<void> {
    const { queues, marks, nowMs } = this.#options;
    const isOfUse = ({ known, isPaused }: PumpQueue<never>): boolean =>
      all || (!isPaused && (!known.ready || known.hint <= 0));
    const indices = [...queues.keys()].filter((at) => isOfUse(queues[at] as PumpQueue<never>));
    if (indices.length === 0) return;
    const signs = indices.map((at) => queues[at]?.known.signs ?? 0);
    try {
      const sights = await marks.look(indices);
      this.#lookedAtMs = nowMs();
      for (const [place, at] of indices.entries()) {
        queues[at]?.known.saw(sights[place] as Sight, signs[place] as number);
        this.setTimer(at);
      }
    } catch (error) {
      this.#options.onError(error);
      // a fetch tells as well
      for (const { known } of queues) known.hint = Math.max(known.hint, 1);
    }
  }

  /** Waits for markers of the queues that show no job, if there are any; a wait that lacks one of them is begun anew. */
  wait(nowMs: number): void {
    const { queues, marks, mayFetch, onError, after } = this.#options;
    const isWanted = (at: number): boolean => queues[at]?.isWatchable(nowMs) ?? false;
    const wanted = mayFetch() ? [...queues.keys()].filter(isWanted) : [];
    if (this.#waitsFor) {
      if (wanted.some((at) => !this.#waitsFor?.has(at))) this.#endWait();
      return;
    }
    if (wanted.length === 0) return;
    this.#waitsFor = new Set(wanted);
    this.#isWoken = false;
    marks.wait(wanted).then(
      (mark) => this.#onWaited(mark),
      (error: unknown) => {
        onError(error);
        after(FAILED_MS, () => this.#onWaited(null));
      },
    );
  }

  #endWait(): void {
    if (this.#waitsFor && !this.#isWoken) this.#options.marks.wake();
    this.#isWoken = true;
  }

  #onWaited(mark: Mark | null): void {
    this.#waitsFor = null;
    const { queues, isRunning, onNews, onWaited } = this.#options;
    const nowMs = this.#options.nowMs();
    this.#lookedAtMs = nowMs;
    const queue = mark && queues[mark.queue];
    if (mark && queue) {
      if (mark.dueAtMs > nowMs) {
        queue.known.delayed(mark.dueAtMs);
        queue.toldDueAtMs = 0;
        this.setTimer(mark.queue);
      } else {
        queue.known.sign();
        queue.owesMark = true;
      }
    }
    if (!isRunning()) this.giveMarksBack();
    else if (mark) onNews();
    else void this.look(true);
    onWaited();
  }

  /** What was taken and is of no use here is for others. */
  giveMarksBack(): void {
    const { queues, hasFreePlace, isRunning } = this.#options;
    const isFull = !hasFreePlace() || !isRunning();
    for (const [at, queue] of queues.entries()) {
      if (queue.owesMark && queue.fetching === 0) {
        queue.owesMark = false;
        this.#options.marks.putBack({ queue: at, dueAtMs: 0 });
      }
      if (isFull || queue.isPaused) this.#tellOfDelayed(at, queue);
    }
  }

  #tellOfDelayed(at: number, queue: PumpQueue<never>): void {
    const { dueAtMs } = queue.known;
    if (dueAtMs === queue.toldDueAtMs || dueAtMs > this.#options.nowMs() + TOLD_MS) return;
    queue.toldDueAtMs = dueAtMs;
    this.#options.marks.putBack({ queue: at, dueAtMs });
  }

  /** For what is known to happen to a queue. */
  setTimer(at: number): void {
    const { queues, isRunning, onNews, after } = this.#options;
    const { known } = queues[at] as PumpQueue<never>;
    const atMs = isRunning() ? known.nextSignAtMs : Number.POSITIVE_INFINITY;
    const timer = this.#timers[at];
    if ((timer?.atMs ?? Number.POSITIVE_INFINITY) === atMs) return;
    timer?.cancel();
    this.#timers[at] = null;
    if (!Number.isFinite(atMs)) return;
    const delayMs = Math.min(Math.max(atMs - this.#options.nowMs(), 0), MAX_TIMER_MS);
    const cancel = after(delayMs, () => {
      this.#timers[at] = null;
      const nowMs = this.#options.nowMs();
      // timers may be early, and what they are for may have moved
      if (nowMs >= known.nextSignAtMs) {
        known.due(nowMs);
        onNews();
      }
      this.setTimer(at);
    });
    this.#timers[at] = { atMs, cancel };
  }
}
