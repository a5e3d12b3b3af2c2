/** The master's end of a child's watchdog pipe. It ends with the child, or with its watchdog. */
import type { Duplex } from 'node:stream';
import { LineReader } from '../line-reader.js';
import {
  MAX_LINE_BYTES,
  parseWatchdogMessage,
  type WatchdogMessage,
  type WatchdogOrder,
} from '../watchdog-protocol.js';

/** An order is short, and few are on their way at once: a thread that does not read gets no more. */
const MAX_QUEUED_BYTES = 64 * 1_024;

export interface WatchdogListener {
  onMessage(message: WatchdogMessage): void;
  onMalformed(why: string): void;
}

export class WatchdogPipe {
  readonly #pipe: Duplex;
  #saidMalformed = false;
  #hasEnded = false;

  constructor(pipe: Duplex, listener: WatchdogListener) {
    this.#pipe = pipe;
    const lines = new LineReader(MAX_LINE_BYTES);
    pipe.on('error', () => {
      // ECONNRESET and the like: the child is gone, which its exit tells
    });
    pipe.on('close', () => {
      this.#hasEnded = true;
    });
    pipe.on('data', (chunk: Buffer) => {
      for (const line of lines.feed(chunk)) {
        const message = line === null ? null : parseWatchdogMessage(line);
        if (message) listener.onMessage(message);
        else this.#malformed(listener);
      }
    });
  }

  /** Nobody is at its other end any more. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  send(order: WatchdogOrder): void {
    if (this.#pipe.writable && this.#pipe.writableLength < MAX_QUEUED_BYTES)
      this.#pipe.write(`${JSON.stringify(order)}\n`);
  }

  /** Once: whoever writes there that is not our thread may write a lot. */
  #malformed(listener: WatchdogListener): void {
    if (this.#saidMalformed) return;
    this.#saidMalformed = true;
    listener.onMalformed("not a watchdog's message");
  }
}
