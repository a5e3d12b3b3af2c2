/** See watchdog.ts; runs in the thread. */
import { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { workerData } from 'node:worker_threads';
import { LineReader } from '../line-reader.js';
import { readThreadCpu } from '../process/native-side.js';
import {
  type Look,
  MAX_LINE_BYTES,
  parseWatchdogOrder,
  WATCHDOG_FD,
  type WatchdogMessage,
} from '../watchdog-protocol.js';
import { DumpTaker } from './dump-taker.js';
import { readJobBoard } from './job-board.js';
import { LOOK_MS, lookOf, nextLook, pauseMs, type Sight, startWatch } from './loop-watch.js';
import { killOwnGroup } from './own-group.js';
import { readPulse } from './pulse.js';
import type { WatchdogData } from './watchdog.js';

/** A master that hears nothing for longer looks for itself. */
const REPORT_MS = 1_000;
const ORPHAN_BLOCKED_MS = 1_000;
/** Beyond this many unsent bytes the master does not read: more would only pile up. */
const MAX_QUEUED_BYTES = 1 << 20;

const { masterPid, pulse, board, leaveWithinMs } = workerData as WatchdogData;

class Watchdog {
  readonly #pipe = new Socket({ fd: WATCHDOG_FD, readable: true, writable: true });
  #watch = startWatch(sight());
  #reportedAtMs = Number.NEGATIVE_INFINITY;
  #wasSilent = false;
  #orphanedMs = 0;
  readonly #taker = new DumpTaker({
    board,
    ownRoot: fileURLToPath(new URL('..', import.meta.url)),
    loop: () => lookOf(this.#watch).kind,
    tick: () => readPulse(pulse).tick,
    onReturn: (findings) => this.#send({ type: 'returned', findings }),
  });
  #taking: Promise<unknown> = Promise.resolve();

  start(): void {
    const lines = new LineReader(MAX_LINE_BYTES);
    // whether the master is there is seen by the parent's pid
    this.#pipe.on('error', () => {});
    this.#pipe.on('data', (chunk: Buffer) => {
      for (const line of lines.feed(chunk)) if (line !== null) this.#obey(line);
    });
    // who else would look? And node aborts where a thread ends that has just let go of a paused main thread
    process.on('uncaughtException', (error) => this.#trouble(error));
    this.#report(lookOf(this.#watch));
    this.#lookAgain();
  }

  #lookAgain(): void {
    setTimeout(() => {
      // also after a look that threw
      this.#lookAgain();
      this.#look();
    }, pauseMs(this.#watch));
  }

  #look(): void {
    const before = this.#watch;
    this.#watch = nextLook(before, sight());
    const { atMs } = this.#watch;
    const look = lookOf(this.#watch);
    const isSilent = look.kind !== null;
    if (isSilent && !this.#wasSilent) this.#send({ type: 'jobs', jobs: readJobBoard(board) });
    const isDue = atMs - this.#reportedAtMs >= REPORT_MS - LOOK_MS / 2;
    if (isSilent || this.#wasSilent || isDue) this.#report(look);
    this.#wasSilent = isSilent;
    this.#lookForMaster(Math.min(atMs - before.atMs, 2 * LOOK_MS));
  }

  /** An orphan is adopted by init or a subreaper, whichever: its parent is another. */
  #lookForMaster(passedMs: number): void {
    if (process.ppid === masterPid) return;
    this.#orphanedMs += passedMs;
    if (this.#watch.blockedMs >= ORPHAN_BLOCKED_MS || this.#orphanedMs > leaveWithinMs) killOwnGroup();
  }

  #obey(line: string): void {
    const order = parseWatchdogOrder(line);
    if (!order) return;
    const { dumpId } = order;
    // one after the other: there is one main thread to ask
    this.#taking = this.#taking.then(() => this.#dump(dumpId));
  }

  async #dump(dumpId: string): Promise<void> {
    try {
      const findings = await this.#taker.take();
      this.#send({ type: 'dump', dumpId, findings });
    } catch (error) {
      // the master then looks from outside
      this.#trouble(error);
    }
  }

  #trouble(error: unknown): void {
    this.#send({ type: 'trouble', message: String(error instanceof Error ? error.stack : error) });
  }

  #report(look: Look): void {
    this.#reportedAtMs = performance.now();
    this.#send({ type: 'look', look });
  }

  #send(message: WatchdogMessage): void {
    if (this.#pipe.writable && this.#pipe.writableLength < MAX_QUEUED_BYTES)
      this.#pipe.write(`${JSON.stringify(message)}\n`);
  }
}

function sight(): Sight {
  return { atMs: performance.now(), ...readPulse(pulse), thread: readThreadCpu(process.pid, process.pid) };
}

new Watchdog().start();
