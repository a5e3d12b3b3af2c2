/**
 * The channel on which Redis tells this process that one of its waiters is let in: one connection and one
 * subscription, however many limiters and waiters, opened when somebody waits for the first time.
 *
 * Rejected: a blocking pop. What is waited for changes all the time, and a cluster does not block on keys of
 * several slots. Messages can be lost with a connection, so they only hurry things: see WaitingRoom.
 */
import type { WakeRedis } from './client.js';

const CHANNEL = 'swarm:limit:wake:';

export interface WakesListener {
  /** @param endsAtMs when the lease ends, by Redis's clock */
  onGranted(id: string, endsAtMs: number): void;
  /** It is this process's turn to look when time has made room. */
  onLook(name: string, inMs: number): void;
  /** Messages may have been missed. */
  onReconnected(): void;
}

export class Wakes {
  readonly #connect: () => WakeRedis;
  readonly #channel: string;
  readonly #listener: WakesListener;
  #client: WakeRedis | null = null;
  #listening: Promise<void> | null = null;
  isListening = false;

  constructor(connect: () => WakeRedis, owner: string, listener: WakesListener) {
    this.#connect = connect;
    this.#channel = `${CHANNEL}${owner}`;
    this.#listener = listener;
  }

  /** Resolves when nothing that is said from now on is missed. */
  listen(): Promise<void> {
    this.#listening ??= this.#open().catch((error: unknown) => {
      this.close();
      throw error;
    });
    return this.#listening;
  }

  /** A connection that is silent because it is dead is found out by a question. */
  check(): void {
    this.#client?.ping().catch(ignore);
  }

  close(): void {
    this.#client?.disconnect();
    this.#client = null;
    this.#listening = null;
    this.isListening = false;
  }

  async #open(): Promise<void> {
    const client = this.#connect();
    this.#client = client;
    client.on('error', ignore);
    client.on('message', (channel, text) => {
      if (channel === this.#channel) this.#hear(text);
    });
    await client.subscribe(this.#channel);
    this.isListening = true;
    client.on('ready', () => {
      client.subscribe(this.#channel).then(() => this.#listener.onReconnected(), ignore);
    });
  }

  #hear(text: string): void {
    const [, what, number, rest] = /^(granted|look) ([\d.]+) (.+)$/s.exec(text) ?? [];
    if (number === undefined || rest === undefined) return;
    if (what === 'granted') this.#listener.onGranted(rest, Number(number));
    else this.#listener.onLook(rest, Number(number));
  }
}

function ignore(): void {}
