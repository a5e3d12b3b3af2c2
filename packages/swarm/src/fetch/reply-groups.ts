/**
 * Replies that came at the same moment, handed on a few at a time. What BullMQ and ioredis do for a reply is a long chain
 * of promises, and chains that begin together go step by step in turn: the first job would begin, and the first end be
 * sent, when all replies have been worked on, and Redis would have nothing to do until then. So it is at work on the first
 * few while the others are made.
 *
 * Not one by one: those of a group are sent in one write (`write-batches.ts`).
 *
 * The price: while a processor of the first few blocks the loop, what the other replies say is not known, as if they were
 * still in the socket. Jobs that Redis has as completed are shown as running until the loop turns, a few at most.
 */

/** More of them in one write save nothing any more. */
const MOST = 8;

/** So that some of what can be under way is at Redis, some on its way back, and some in hand. */
export function groupSize(places: number): number {
  return Math.max(1, Math.min(MOST, Math.ceil(places / 3)));
}

export class ReplyGroups {
  readonly #size: number;
  readonly #later: (() => void)[] = [];
  /** How many may still be handed on with this group. */
  #room: number;
  #isUnderWay = false;

  constructor(size: number) {
    this.#size = size;
    this.#room = size;
  }

  /** Resolves when it is the turn of the reply that has come; undefined: at once. */
  turn(): Promise<void> | undefined {
    this.#begin();
    if (this.#room > 0) {
      this.#room -= 1;
      return undefined;
    }
    return new Promise((resolve) => this.#later.push(resolve));
  }

  /** The group ends when all that its replies have led to is done, but for what waits: at the tick after the microtasks. */
  #begin(): void {
    if (this.#isUnderWay) return;
    this.#isUnderWay = true;
    // ticks that a tick asks for come before the microtasks
    queueMicrotask(() => process.nextTick(() => this.#end()));
  }

  #end(): void {
    this.#isUnderWay = false;
    const next = this.#later.splice(0, this.#size);
    this.#room = this.#size - next.length;
    if (next.length > 0) this.#begin();
    for (const handOn of next) handOn();
  }
}
