/**
 * Looks every 10 s whether each Worker of this child fetches as it should; see `fetch/hunger.ts`. It says so to the
 * master, with the state of the fetcher, and leaves it at that.
 */
import {
  type FetcherSight,
  type Hunger,
  LOOK_MS,
  lookAtFetcher,
  type QueueAnswer,
  startHunger,
} from '../fetch/hunger.js';
import type { NotConsuming } from '../protocol.js';
import type { BullWorker } from './bullmq.js';
import { readQueueLoad } from './queue-load.js';
import type { Workers } from './workers.js';

export interface FetchWatchParts {
  workers: Workers;
  /** Why the consumer of a swarm app fetches nothing from this Worker's queue for now; null: it would. */
  heldUp: (worker: BullWorker) => string | null;
  onAlarm: (alarm: NotConsuming) => void;
}

interface Watched {
  hunger: Hunger;
  answer: QueueAnswer;
}

export class FetchWatch {
  readonly #parts: FetchWatchParts;
  readonly #watched = new WeakMap<BullWorker, Watched>();

  constructor(parts: FetchWatchParts) {
    this.#parts = parts;
  }

  start(): void {
    setInterval(() => this.look(performance.now()), LOOK_MS).unref();
  }

  look(atMs: number): void {
    for (const worker of this.#parts.workers.list) this.#lookAt(worker, atMs);
  }

  #lookAt(worker: BullWorker, atMs: number): void {
    const log = this.#parts.workers.logOf(worker);
    const watched = this.#watched.get(worker);
    if (!watched) {
      this.#watched.set(worker, {
        hunger: startHunger({ atMs, begun: log.begun }),
        answer: { kind: 'none' },
      });
      return;
    }
    const sight: FetcherSight = {
      atMs,
      begun: log.begun,
      isFree: this.#isFree(worker, log.begun),
      hadTrouble: log.hadTrouble,
      usualWaitMs: log.usualWaitMs,
      answer: watched.answer,
    };
    log.hadTrouble = false;
    const { hunger, asks, alarm } = lookAtFetcher(watched.hunger, sight);
    watched.hunger = hunger;
    if (alarm) this.#alarm(worker, alarm);
    if (asks) this.#ask(worker, watched);
    else if (watched.answer.kind !== 'pending') watched.answer = { kind: 'none' };
  }

  /** As far as this process knows, it could begin one more job. */
  #isFree(worker: BullWorker, begun: number): boolean {
    const { workers, heldUp } = this.#parts;
    if (workers.isQuiet || worker.isPaused() || worker.closing) return false;
    // whoever fetches by hand, or has not begun to, is nobody's to judge
    if (begun === 0 && !worker.isRunning?.()) return false;
    if (workers.logOf(worker).running >= worker.concurrency) return false;
    return (worker.limitUntil ?? 0) <= Date.now() && heldUp(worker) === null;
  }

  #ask(worker: BullWorker, watched: Watched): void {
    watched.answer = { kind: 'pending' };
    readQueueLoad(worker).then(
      (load) => {
        const jobs = load && !load.isHeldUp ? load.waiting : 0;
        watched.answer = { kind: 'waiting', jobs };
      },
      () => {
        watched.answer = { kind: 'failed' };
      },
    );
  }

  #alarm(worker: BullWorker, { waiting, forMs }: Pick<NotConsuming, 'waiting' | 'forMs'>): void {
    const info = this.#parts.workers.infoOf(worker);
    if (!info) return;
    const { queue, prefix, redisId } = info;
    const { running, begun } = this.#parts.workers.logOf(worker);
    const state = fetcherState(worker, { running, begun });
    this.#parts.onAlarm({ queue, prefix, redisId, waiting, forMs: Math.round(forMs), state });
  }
}

interface Inner {
  waiting?: unknown;
  drained?: unknown;
  blockUntil?: unknown;
  limitUntil?: unknown;
  blockingConnection?: Connection;
  connection?: Connection;
  backend?: { connection?: Connection; blockingConnection?: Connection };
}

interface Connection {
  status?: unknown;
  _client?: { status?: unknown; commandQueue?: { length?: unknown }; offlineQueue?: { length?: unknown } };
}

/**
 * In a line, for people. Some of it is private to BullMQ, and read as far as it is there: what it is when a fetcher hangs
 * tells where it does.
 */
function fetcherState(worker: BullWorker, { running, begun }: { running: number; begun: number }): string {
  const inner = worker as unknown as Inner;
  const { backend = inner } = inner;
  const until = (time: unknown): string => {
    return typeof time === 'number' && time > 0 ? new Date(time).toISOString() : 'none';
  };
  return [
    `running ${running} of ${worker.concurrency}, begun ${begun}`,
    `main loop ${worker.isRunning?.() ? 'runs' : 'has ended'}`,
    inner.waiting ? 'it waits for a job' : 'it does not wait for a job',
    `drained ${Boolean(inner.drained)}`,
    `block until ${until(inner.blockUntil)}`,
    `limit until ${until(inner.limitUntil)}`,
    `connection ${connectionState(backend.connection)}`,
    `blocking connection ${connectionState(backend.blockingConnection)}`,
  ].join(', ');
}

function connectionState(connection: Connection | undefined): string {
  const client = connection?._client;
  if (!client) return String(connection?.status ?? 'unknown');
  const sent = Number(client.commandQueue?.length ?? 0);
  const queued = Number(client.offlineQueue?.length ?? 0);
  return `${String(client.status)} (${sent} unanswered, ${queued} unsent)`;
}
