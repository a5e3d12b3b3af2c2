/** Reads a master's requests, for as long as it lives, on a connection of its own that blocks. */
import { setTimeout as delay } from 'node:timers/promises';
import type { RedisClient } from '../redis/connect.js';
import { type Answer, type Command, parseRequest, pushAnswer } from './commands.js';
import { registryKeys } from './keys.js';

const BLOCK_MS = 10_000;
const RETRY_MS = 1_000;

export type Reply = (answer: Answer) => void;

export class CommandListener {
  readonly #client: RedisClient;
  /** For answers: the other one is blocked. */
  readonly #writing: RedisClient;
  readonly #namespace: string;
  readonly #identity: string;
  readonly #onCommand: (command: Command, reply: Reply) => void;
  #pending: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(parts: {
    blocking: RedisClient;
    writing: RedisClient;
    namespace: string;
    /** Of the master. */
    identity: string;
    onCommand: (command: Command, reply: Reply) => void;
  }) {
    this.#client = parts.blocking;
    this.#writing = parts.writing;
    this.#namespace = parts.namespace;
    this.#identity = parts.identity;
    this.#onCommand = parts.onCommand;
  }

  start(): void {
    void this.#read();
  }

  /** Answers that are on their way still go out. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#client.disconnect();
    await this.#pending;
  }

  async #read(): Promise<void> {
    const stream = registryKeys(this.#namespace).commands(this.#identity);
    // an identity is of one run: whatever is in its stream is for this one
    let last = '0-0';
    while (!this.#closed) {
      try {
        const reply = await this.#client.xread('COUNT', 10, 'BLOCK', BLOCK_MS, 'STREAMS', stream, last);
        for (const [id, fields] of entriesOf(reply)) {
          last = id;
          this.#take(fields);
        }
      } catch {
        // Redis is away: the reporter says so, and requests come when it is back
        if (!this.#closed) await delay(RETRY_MS);
      }
    }
  }

  #take(fields: readonly string[]): void {
    const request = parseRequest(fields, this.#namespace);
    if (!request) return;
    const reply: Reply = (answer) => {
      this.#pending = this.#pending.then(() =>
        pushAnswer(this.#writing, request.reply, answer).catch(() => {}),
      );
    };
    if ('error' in request) reply({ state: 'failed', message: request.error });
    else this.#onCommand(request.command, reply);
  }
}

/** XREAD's reply: an array of [stream, entries], or in RESP3 a map of the same. */
function entriesOf(reply: unknown): [string, string[]][] {
  if (reply === null || typeof reply !== 'object') return [];
  const streams = reply instanceof Map ? [...reply] : Array.isArray(reply) ? reply : Object.entries(reply);
  return streams.flatMap(([, entries]) => entries as [string, string[]][]);
}
