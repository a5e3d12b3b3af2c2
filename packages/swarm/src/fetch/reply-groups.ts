/**
 * Replies that came at the same moment, handed on a few at a time. What BullMQ and ioredis do for a reply is a long chain
 * of promises, and chains that begin together go step by step in turn: the first job would begin, and the first end be
 * sent, when all replies have been worked on, and Redis would have nothing to do until then. So it is at work on the first
 * few while the others are made: on one at first where it has nothing to do, since a job costs about as much here as there.
 *
 * Otherwise not one by one: those of a group are sent in one write (`write-batches.ts`).
 *
 * The price: while a processor of the first few blocks the loop, what the other replies say is not known, as if they were
 * still in the socket. Jobs that Redis has as completed are shown as running until the loop turns, a few at most.
 */

/** More of them in one write save nothing any more. */
const MOST = 8;

/** So that some of what can be under way is at Redis, some on its way, and some in hand, in parts of about one size. */
export function groupSize(places: number): number {
  return Math.max(1, Math.min(MOST, Math.ceil(places / 5)));
}

export class ReplyGroups {
  readonly #size: number;
  readonly #waiting: (() => void)[] = [];
  #atRedis = 0;
  #isUnderWay = false;
  #areSeveral = false;

  constructor(size: number) {
    this.#size = size;
  }

  /** Several replies are worked on now, so that several scripts will be sent at the same moment. */
  get areSeveral(): boolean {
    return this.#areSeveral;
  }

  /** A script is sent, whose reply will be said to have come. */
  sent(): void {
    this.#atRedis += 1;
  }

  came(): void {
    this.#atRedis -= 1;
  }

  /** Resolves when it is the turn of the reply that has come. */
  turn(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (this.#isUnderWay) return;
      this.#isUnderWay = true;
      // the other replies of this moment are said to have come first
      queueMicrotask(() => this.#handOn());
    });
  }

  #handOn(): void {
    const most = Math.max(1, Math.min(this.#size, this.#atRedis));
    const group = this.#waiting.splice(0, most);
    this.#areSeveral = group.length > 1;
    for (const goOn of group) goOn();
    // when all that they lead to is done, but for what waits; ticks that a tick asks for come before the microtasks
    queueMicrotask(() => process.nextTick(() => this.#goOn()));
  }

  #goOn(): void {
    this.#areSeveral = false;
    if (this.#waiting.length > 0) this.#handOn();
    else this.#isUnderWay = false;
  }
}
