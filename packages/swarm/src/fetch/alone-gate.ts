/** The gate of `alone.ts` in the hands of those who wait at it: fetches for it to open, suspects for their turn. */
import type { JobRef } from '../protocol.js';
import { type AloneEvent, type AloneState, mayFetch, nothingInHand, step } from './alone.js';

/** One job in hand. The same job may come twice, so it is the object that counts. */
export interface InHand extends JobRef {
  suspect: boolean;
}

export interface AloneGateListener {
  /** Fetching may go on. */
  onOpened(): void;
  /** Who waits for a turn has changed. */
  onWaiting(jobs: readonly JobRef[]): void;
}

export class AloneGate {
  #state: AloneState<InHand> = nothingInHand();
  readonly #turns = new Map<InHand, () => void>();
  readonly #listener: AloneGateListener;

  constructor(listener: AloneGateListener) {
    this.#listener = listener;
  }

  /** Begins a fetch if that may be; each that began must end, after its job came. */
  tryFetch(): boolean {
    if (!mayFetch(this.#state)) return false;
    this.#on({ type: 'fetchBegan' });
    return true;
  }

  endFetch(): void {
    this.#on({ type: 'fetchEnded' });
  }

  came(job: InHand): void {
    this.#on({ type: 'jobCame', job, suspect: job.suspect });
  }

  left(job: InHand): void {
    this.#on({ type: 'jobLeft', job, suspect: job.suspect });
    this.#turns.delete(job);
  }

  get isOpen(): boolean {
    return mayFetch(this.#state);
  }

  /** Resolves when the job may begin, to whether it had to wait. */
  async turn(job: InHand): Promise<boolean> {
    if (!job.suspect || this.#state.alone === job) return false;
    await new Promise<void>((resolve) => {
      this.#turns.set(job, resolve);
    });
    return true;
  }

  #on(event: AloneEvent<InHand>): void {
    const before = this.#state;
    const now = step(before, event);
    this.#state = now;
    // before the job begins: it may be the last that is ever heard of this child
    if (now.waiting !== before.waiting && String(ids(now)) !== String(ids(before))) {
      this.#listener.onWaiting(now.waiting.map(({ queue, id }) => ({ queue, id })));
    }
    if (mayFetch(now) && !mayFetch(before)) this.#listener.onOpened();
    if (now.alone && now.alone !== before.alone) this.#turns.get(now.alone)?.();
  }
}

function ids({ waiting }: AloneState<InHand>): string[] {
  return waiting.map(({ queue, id }) => JSON.stringify([queue, id]));
}
