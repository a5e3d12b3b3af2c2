/** Once a second: how this child is, measured with as little as possible. */
import { type EventLoopUtilization, performance } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import type { Beat } from '../protocol.js';
import { Pulse } from './pulse.js';
import type { Workers } from './workers.js';

const BEAT_MS = 1_000;
/** Finer than a beat, so that lag is seen; coarse enough to cost nothing. */
const TICK_MS = 250;

export class Heart {
  readonly #workers: Workers;
  readonly #onBeat: (beat: Beat) => void;
  /** Shared with the watchdog thread. */
  readonly pulse = new Pulse();
  #lastTickMs = performance.now();
  #maxLagMs = 0;
  /** Event loop utilisation over the last beat. */
  elu: number | null = null;
  #lastElu: EventLoopUtilization = performance.eventLoopUtilization();

  constructor(workers: Workers, onBeat: (beat: Beat) => void) {
    this.#workers = workers;
    this.#onBeat = onBeat;
  }

  start(): void {
    setInterval(() => this.#tick(), TICK_MS).unref();
    setInterval(() => this.beat(), BEAT_MS).unref();
  }

  beat(): void {
    const elu = performance.eventLoopUtilization();
    const { used_heap_size: heapUsedBytes, heap_size_limit: heapLimitBytes } = getHeapStatistics();
    this.elu = round3(performance.eventLoopUtilization(elu, this.#lastElu).utilization);
    this.#onBeat({
      heapUsedBytes,
      heapLimitBytes,
      loopLagMs: Math.round(this.#maxLagMs),
      elu: this.elu,
      busy: this.#workers.busy,
      concurrency: this.#workers.concurrency,
      jobs: this.#workers.activeJobs,
      processed: this.#workers.processed,
      failed: this.#workers.failed,
      started: this.#workers.started,
    });
    this.#lastElu = elu;
    this.#maxLagMs = 0;
  }

  #tick(): void {
    this.pulse.tick();
    const nowMs = performance.now();
    this.#maxLagMs = Math.max(this.#maxLagMs, nowMs - this.#lastTickMs - TICK_MS);
    this.#lastTickMs = nowMs;
  }
}

function round3(value: number): number {
  return Number.isFinite(value) ? Math.round(Math.max(0, value) * 1_000) / 1_000 : 0;
}
