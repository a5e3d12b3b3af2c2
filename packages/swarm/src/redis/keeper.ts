/**
 * Brings the embedded server back when it was killed under the masters that use it: nobody else would, and children only wait. Where it was
 * (port, password, data) is where it comes back; a server elsewhere would be of no use to programs that know its URL.
 *
 * Each master looks when its own connection is closed, and ioredis closes again with each try that fails, so there is no timer. Of
 * several masters one starts it, under the lock of the state directory, and the others find it. Bounded: a server that dies again and
 * again is left alone for a while, and it is said once. One that was stopped by `swarm redis stop --force` stays stopped.
 */
import { existsSync } from 'node:fs';
import type { Logger } from '../log.js';
import type { RedisClient } from './connect.js';
import { startEmbedded } from './embedded.js';
import { pathsIn } from './state.js';

const MOST_STARTS = 5;
const WITHIN_MS = 300_000;
/** A server that leaves as told, at the end of another master, is gone for a moment only. */
const FIRST_WAIT_MS = 200;
const MAX_WAIT_MS = 30_000;

/** Whether it may be started once more. Pure: monotonic times of the starts so far. */
export function mayStart(startedAtMs: readonly number[], nowMs: number): boolean {
  return startedAtMs.filter((atMs) => nowMs - atMs < WITHIN_MS).length < MOST_STARTS;
}

export class EmbeddedKeeper {
  readonly #client: Pick<RedisClient, 'on' | 'off' | 'status'>;
  readonly #stateDir: string;
  readonly #log: Logger;
  readonly #onClose = (): void => void this.#look();
  readonly #startedAtMs: number[] = [];
  #isLooking = false;
  #failures = 0;
  #notBeforeMs = 0;
  /** Why it is not back, as last said. */
  #said = '';

  constructor(client: Pick<RedisClient, 'on' | 'off' | 'status'>, stateDir: string, log: Logger) {
    this.#client = client;
    this.#stateDir = stateDir;
    this.#log = log;
    client.on('close', this.#onClose);
  }

  close(): void {
    this.#client.off('close', this.#onClose);
    this.#notBeforeMs = Number.POSITIVE_INFINITY;
  }

  async #look(): Promise<void> {
    if (this.#isLooking || performance.now() < this.#notBeforeMs) return;
    this.#isLooking = true;
    try {
      await new Promise((resolve) => setTimeout(resolve, FIRST_WAIT_MS));
      if (this.#client.status !== 'ready' && performance.now() >= this.#notBeforeMs) await this.#bringBack();
    } finally {
      this.#isLooking = false;
    }
  }

  async #bringBack(): Promise<void> {
    if (existsSync(pathsIn(this.#stateDir).stopped))
      return this.#say(
        'the embedded Redis was stopped by hand: it comes back when the next swarm is started',
      );
    if (!mayStart(this.#startedAtMs, performance.now())) {
      const often = `${MOST_STARTS} times in ${WITHIN_MS / 60_000} minutes`;
      return this.#say(`the embedded Redis died ${often}, and is left alone for now; see its log`);
    }
    try {
      const server = await startEmbedded({
        stateDir: this.#stateDir,
        log: (level, text) => this.#log[level](text),
        mustBeSame: true,
      });
      this.#failures = 0;
      this.#said = '';
      if (server.reused) return;
      this.#startedAtMs.push(performance.now());
      this.#log.warn('the embedded Redis was gone, and is started again', {
        redis_pid: server.pid,
        restarts: this.#startedAtMs.length,
      });
    } catch (error) {
      this.#failures += 1;
      this.#notBeforeMs = performance.now() + Math.min(MAX_WAIT_MS, 1_000 * 2 ** (this.#failures - 1));
      this.#say('the embedded Redis is gone, and does not come back', String(error));
    }
  }

  #say(message: string, error?: string): void {
    if (this.#said === message) return;
    this.#said = message;
    this.#log.error(message, { error, log: pathsIn(this.#stateDir).log });
  }
}
