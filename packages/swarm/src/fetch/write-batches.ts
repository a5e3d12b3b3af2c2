/**
 * The scripts that many places send at the same moment, in few writes: a write to a socket costs about as much as all that
 * BullMQ does for a job. They come at the same moment because the replies before them did.
 *
 * None waits for longer than the microtasks that were queued before it, and none at all for a processor (`flush`): what has
 * ended must be told although the next job may block the loop.
 *
 * Rejected: ioredis' auto-pipelining. It holds back all commands of the loop's turn, those of the app too, and makes an
 * object of each batch and a promise more of each command.
 */

/** Of a socket. */
interface Writable {
  cork(): void;
  uncork(): void;
}

export class WriteBatches {
  readonly #stream: () => Writable | undefined;
  #corked: Writable | null = null;
  #count = 0;
  readonly #most: number;

  /** @param stream what commands are written to now @param most in one write */
  constructor(stream: () => Writable | undefined, most: number) {
    this.#stream = stream;
    this.#most = most;
  }

  /** Right before a command is sent. */
  join(): void {
    if (this.#most === 1) return;
    if (this.#count === this.#most) this.flush();
    if (this.#corked) {
      this.#count += 1;
      return;
    }
    const stream = this.#stream();
    if (!stream) return;
    stream.cork();
    this.#corked = stream;
    this.#count = 1;
    queueMicrotask(() => this.flush());
  }

  flush(): void {
    const corked = this.#corked;
    if (!corked) return;
    this.#corked = null;
    this.#count = 0;
    corked.uncork();
  }
}
