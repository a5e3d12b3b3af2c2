/** One queue in the hands of the pump: its jobs' source, what is known of it, and who may take from it. */
import type { FetchGate, Lease } from './gate.js';
import type { Known } from './known.js';

/** Where a queue's jobs come from and are run. Jobs are what it says they are. */
export interface Source<Job> {
  readonly known: Known;
  /** Takes its next job. What else the reply says is in `known` before this resolves. */
  fetch(): Promise<Job | null>;
  /**
   * Runs it to its end, whatever that is. `fetchNext` is asked right before the end: whether the script that ends it
   * shall fetch the next one, which is the result then.
   */
  process(job: Job, fetchNext: () => boolean, lease: Lease | null): Promise<Job | null>;
}

export interface PumpQueueOptions<Job> {
  source: Source<Job>;
  /** Jobs of it at once; null: no limit but that of all queues together. */
  maxActive: number | null;
  gate: FetchGate | null;
}

export class PumpQueue<Job> {
  readonly source: Source<Job>;
  readonly known: Known;
  readonly gate: FetchGate | null;
  /** Places that fetch from it or run a job of it. */
  taken = 0;
  isPaused = false;
  /** Its gate has no room, and will say so when it has. */
  isShut = false;
  /** How often it has said so, or was left: a refusal from before that says nothing any more. */
  rooms = 0;
  /** Its marker was taken by us, and nothing was fetched since: somebody else must hear of it. */
  owesMark = false;
  /** The due time of its next delayed job, as others were last told of it. */
  toldDueAtMs = 0;
  /** Fetches from it under way. */
  fetching = 0;
  readonly #maxActive: number;

  constructor({ source, maxActive, gate }: PumpQueueOptions<Job>) {
    this.source = source;
    this.known = source.known;
    this.gate = gate;
    this.#maxActive = maxActive ?? Number.POSITIVE_INFINITY;
  }

  /** @param leaving places that are about to leave it */
  isOpen(nowMs: number, leaving: number): boolean {
    return this.known.ready && this.hasRoom(nowMs, leaving);
  }

  /** A fetch could be worth it, but there is no sign of a job. */
  isWatchable(nowMs: number): boolean {
    return !this.known.ready && this.hasRoom(nowMs, 0);
  }

  hasRoom(nowMs: number, leaving: number): boolean {
    const { isPaused, isShut, known, taken } = this;
    return !isPaused && !isShut && taken - leaving < this.#maxActive && !known.isLimited(nowMs);
  }

  /** What keeps it from being fetched; null: nothing does. */
  heldUp(nowMs: number): string | null {
    if (this.isPaused) return 'it is paused';
    if (this.isShut) return 'its limit has no room';
    if (this.taken >= this.#maxActive) return 'it has as many jobs as its maxActive';
    return this.known.isLimited(nowMs) ? 'it is rate limited' : null;
  }

  /** The room that was asked for is of no use any more. */
  withdraw(): void {
    if (!this.isShut) return;
    this.isShut = false;
    this.rooms += 1;
    this.gate?.withdraw();
  }
}

/** A seat for one job. */
export class Place {
  /** The index of the queue that was drawn, and for how many more jobs that holds. */
  drawn = -1;
  left = 0;
  /** Where its next job is to come from, found at the end of the last one; -1: not known yet. */
  planned = -1;
  /** What is known is too old to choose by. */
  mustLook = false;
  /** It was asked at the end of this run whether to fetch on. */
  asked = false;
  /** The answer was yes. */
  fetchesOn = false;
  /** The queue's signs at that time. */
  signs = 0;
  lease: Lease | null = null;
}
