/**
 * Reads a master's requests for as long as it lives, on a connection of its own that blocks. A request is
 * taken by deleting its entry: once, and not at all when the sender has withdrawn it meanwhile.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../log.js';
import type { RedisClient } from '../redis/connect.js';
import { type Answer, type Command, parseRequest, pushAnswer } from './commands.js';
import { registryKeys } from './keys.js';

const BLOCK_MS = 10_000;
const AT_ONCE = 10;
const RETRY_MS = 1_000;
/** Nobody waits longer for an answer than its key would live. */
const GIVE_UP_AFTER_MS = 120_000;
/** A master that leaves waits no longer than that for its last answers. */
const LAST_ANSWERS_MS = 1_000;

export type Reply = (answer: Answer) => void;

export interface CommandListenerParts {
  blocking: RedisClient;
  /** For all that does not block. */
  writing: RedisClient;
  namespace: string;
  /** Of the master. */
  identity: string;
  log: Logger;
  onCommand: (command: Command, reply: Reply) => void;
}

export class CommandListener {
  readonly #parts: CommandListenerParts;
  readonly #stream: string;
  #pending: Promise<unknown> = Promise.resolve();
  #closed = false;
  #trouble = '';

  constructor(parts: CommandListenerParts) {
    this.#parts = parts;
    this.#stream = registryKeys(parts.namespace).commands(parts.identity);
  }

  start(): void {
    void this.#read();
  }

  /** Answers that are on their way still go out. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#parts.blocking.disconnect();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, LAST_ANSWERS_MS);
    });
    await Promise.race([this.#pending, late]);
    clearTimeout(timer);
  }

  async #read(): Promise<void> {
    while (!this.#closed) {
      try {
        // from the beginning: an identity is of one run, and what was taken is not there any more
        const args = ['COUNT', AT_ONCE, 'BLOCK', BLOCK_MS, 'STREAMS', this.#stream, '0-0'] as const;
        const entries = entriesOf(await this.#parts.blocking.xread(...args));
        for (const [id, fields] of entries) {
          if ((await this.#parts.writing.xdel(this.#stream, id)) > 0) this.#take(fields);
        }
      } catch (error) {
        this.#complain(error);
        if (!this.#closed) await delay(RETRY_MS);
      }
    }
  }

  /** Redis that is away is the reporter's to tell; what Redis itself says is said once. */
  #complain(error: unknown): void {
    const { name, message } = error as Error;
    if (this.#closed || name !== 'ReplyError' || message === this.#trouble) return;
    this.#trouble = message;
    this.#parts.log.warn('commands cannot be read', { error: message });
  }

  #take(fields: readonly string[]): void {
    const request = parseRequest(fields, this.#parts.namespace);
    if (!request) {
      this.#parts.log.warn('malformed command dropped', { why: 'no reply key of this namespace' });
      return;
    }
    const reply: Reply = (answer) => {
      this.#pending = this.#pending.then(() => this.#push(request.reply, answer));
    };
    if ('error' in request) {
      this.#parts.log.warn('malformed command refused', { why: request.error });
      reply({ state: 'failed', message: request.error });
    } else {
      this.#parts.onCommand(request.command, reply);
    }
  }

  /** In order, and for as long as somebody may wait: Redis may be away just now. */
  async #push(reply: string, answer: Answer): Promise<void> {
    const untilMs = performance.now() + GIVE_UP_AFTER_MS;
    while (performance.now() < untilMs) {
      try {
        return await pushAnswer(this.#parts.writing, reply, answer);
      } catch {
        if (this.#closed) return;
        await delay(RETRY_MS);
      }
    }
  }
}

/** XREAD's reply: an array of [stream, entries], or in RESP3 a map of the same. */
function entriesOf(reply: unknown): [string, string[]][] {
  if (reply === null || typeof reply !== 'object') return [];
  const streams = reply instanceof Map ? [...reply] : Array.isArray(reply) ? reply : Object.entries(reply);
  return streams.flatMap(([, entries]) => entries as [string, string[]][]);
}
