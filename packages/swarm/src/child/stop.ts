/**
 * How a child leaves: it takes no new job, waits for the running ones as long as it may, hands back
 * what is unfinished, says so, runs the close hooks, and exits. Each step is bounded, and a step that
 * fails does not keep the next one from running.
 *
 * A job that was given up is not put back: it would start elsewhere although it still runs here. It keeps its lock
 * until this process is killed, which is what the child waits for then.
 */

import type { ActiveJob, GivenUpJob, JobRef } from '../protocol.js';
import { handBack } from '../recovery/hand-back.js';
import type { Channel } from './channel.js';
import type { Workers } from './workers.js';

/** The master kills at the end of its own grace, which is a little longer than these together. */
const HAND_BACK_MS = 500;
/** Nobody waits for a child whose master is gone, and nobody else puts its jobs back. */
const HAND_BACK_ALONE_MS = 3_000;
const CLOSE_MS = 2_000;
/** The master kills as soon as it hears; if it does not, the child goes by itself. */
const KILL_MS = 5_000;

export class Departure {
  readonly #workers: Workers;
  readonly #channel: Channel;
  /** The app's close hooks: resolves when they are done. */
  readonly #close: () => Promise<void>;
  #shorten: (() => void) | null = null;
  /** The master is gone: nobody else puts jobs back. */
  #isAlone = false;

  constructor(workers: Workers, channel: Channel, close: () => Promise<void>) {
    this.#workers = workers;
    this.#channel = channel;
    this.#close = close;
  }

  /**
   * Begins to leave; called again, it only ever shortens the drain.
   * @param givenUp jobs that are left where they are
   * @param alone the master is gone
   */
  begin(drainTimeoutMs: number, givenUp: readonly GivenUpJob[], alone = false): void {
    this.#workers.giveUp(givenUp);
    this.#isAlone ||= alone;
    if (this.#shorten) {
      setTimeout(this.#shorten, drainTimeoutMs);
      return;
    }
    const hurry = new Promise<void>((resolve) => {
      this.#shorten = resolve;
    });
    // keeps the loop turning until the child has left, whatever else it waits for
    setInterval(() => {}, 1_000);
    void this.#leave(drainTimeoutMs, hurry);
  }

  async #leave(drainTimeoutMs: number, hurry: Promise<void>): Promise<void> {
    this.#workers.quiet(true);
    this.#channel.send({ type: 'draining', busy: this.#workers.busy });
    await Promise.race([this.#workers.whenIdle(drainTimeoutMs), hurry]);
    const handedBack = await this.#handBack(this.#isAlone ? HAND_BACK_ALONE_MS : HAND_BACK_MS);
    const left = this.#workers.held.filter(({ givenUp }) => givenUp).map(refOf);
    if (left.length > 0) {
      await this.#channel.sendLast({ type: 'drained', ...handedBack, left });
      await new Promise((resolve) => setTimeout(resolve, KILL_MS));
      process.exit(1);
    }
    await this.#channel.sendLast({ type: 'drained', ...handedBack });
    const closed = await settle(this.#close(), CLOSE_MS);
    if (closed.error) console.error('swarm: a close hook failed:', closed.error);
    process.exit(0);
  }

  async #handBack(timeoutMs: number): Promise<{ handedBack: ActiveJob[]; error: string | null }> {
    const { value, error } = await settle(handBack(this.#workers), timeoutMs);
    if (value) return { handedBack: value, error: null };
    // Redis is away, and it held nothing: a fetch that was lost with the connection is not known to anybody
    if (this.#workers.busy === 0) return { handedBack: [], error: null };
    return { handedBack: [], error: error ? String(error) : `not handed back within ${timeoutMs} ms` };
  }
}

function refOf({ queue, id }: JobRef): JobRef {
  return { queue, id };
}

/** At most `timeoutMs`; neither field is set when time ran out. */
async function settle<T>(promise: Promise<T>, timeoutMs: number): Promise<{ value?: T; error?: unknown }> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<object>((resolve) => {
    timer = setTimeout(() => resolve({}), timeoutMs);
  });
  const settled = promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  const result = await Promise.race([settled, late]);
  clearTimeout(timer);
  return result;
}
