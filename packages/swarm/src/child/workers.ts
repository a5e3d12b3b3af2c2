/**
 * Every BullMQ Worker of this child and every job in its hands. A Worker is known from its first `run`,
 * before it can take a job; a job from the start of `processJob` to its end.
 *
 * Rejected: to follow BullMQ's events. A job that ends by DelayedError, RateLimitError or
 * WaitingChildrenError emits none, and would be counted as active for ever.
 */
import { errorMonitor } from 'node:events';
import { isSameRun } from '../active-job.js';
import {
  type ActiveJob,
  type GivenUpJob,
  type JobRef,
  MAX_LISTED_JOBS,
  MAX_LISTED_WORKERS,
  type WorkerInfo,
} from '../protocol.js';
import { moveToWait, wake } from '../recovery/move-job.js';
import { type BullJob, type BullModule, type BullWorker, lockTimesOf, redisIdOfWorker } from './bullmq.js';
import { FetchLog } from './fetch-log.js';
import { JobBoard } from './job-board.js';
import { JobContext } from './job-context.js';
import { JobDurations } from './job-durations.js';
import { JobMemory } from './job-memory.js';

export interface HeldJob extends ActiveJob {
  job: BullJob;
  token: string;
  worker: BullWorker;
  abort: AbortController | null;
  /** No longer ours, although its run here has not come to its end. */
  stale: boolean;
  /** Past its time: no longer waited for, nor put back. */
  givenUp: boolean;
  /** BullMQ has said so; null: not yet. */
  ended: 'completed' | 'failed' | null;
}

export interface WorkersListener {
  onStarted(worker: BullWorker, info: WorkerInfo): void;
  /** It was closed, and holds nothing. */
  onEnded(info: WorkerInfo): void;
  /** A run came to its end after its job was no longer ours: what it returned counts for nothing. */
  onStaleEnd(job: ActiveJob): void;
  /** A run came to its end, and its job neither completed nor failed: it was delayed, or Redis has refused its end. */
  onOpenEnd(worker: BullWorker): void;
  /** It has emitted an error: most are those of its connection. */
  onTrouble(worker: BullWorker, error: unknown): void;
}

export class Workers {
  processed = 0;
  failed = 0;
  readonly memory = new JobMemory();
  readonly durations = new JobDurations();
  /** For the watchdog. */
  readonly board = new JobBoard();
  readonly context = new JobContext();
  readonly #workers = new Map<BullWorker, WorkerInfo>();
  readonly #logs = new WeakMap<BullWorker, FetchLog>();
  readonly #held = new Set<HeldJob>();
  readonly #disowned = new Set<string>();
  readonly #listener: WorkersListener;
  /** null: each Worker's own. */
  readonly #concurrency: number | null;
  /** What all Workers share; null: each has its own. */
  #total: number | null = null;
  #quiet = false;
  /** Those that the app has paused itself stay so. */
  readonly #pausedHere = new Set<BullWorker>();
  #onIdle: (() => void)[] = [];

  constructor(concurrency: number | null, listener: WorkersListener) {
    this.#concurrency = concurrency;
    this.#listener = listener;
  }

  /** Wraps the public methods of the app's bullmq; returns what is missing there, or null. */
  instrument(bullmq: BullModule): string | null {
    const { prototype } = bullmq.Worker;
    const { run, processJob } = prototype;
    if (typeof run !== 'function') return 'Worker.run';
    if (typeof processJob !== 'function') return 'Worker.processJob';
    const add = (worker: BullWorker): void => this.add(worker);
    const follow = this.#follow.bind(this);
    prototype.run = function () {
      add(this);
      return run.call(this);
    };
    prototype.processJob = function (job, token, ...rest) {
      return follow(this, job, token, () => processJob.call(this, job, token, ...rest));
    };
    return null;
  }

  /** For a Worker whose class is out of reach, inlined by a bundler. */
  track(worker: BullWorker): void {
    if (this.#workers.has(worker)) return;
    const own = worker as BullWorker & {
      processJob(job: BullJob, token: string, ...rest: unknown[]): Promise<unknown>;
    };
    const { processJob } = own;
    const follow = this.#follow.bind(this);
    own.processJob = (job, token, ...rest) => {
      return follow(worker, job, token, () => processJob.call(worker, job, token, ...rest));
    };
    this.add(worker);
  }

  /** All Workers that are added from now on share so many places, whatever their own concurrency is. */
  share(total: number): void {
    this.#total = total;
  }

  add(worker: BullWorker): void {
    if (this.#workers.has(worker)) return;
    if (this.#concurrency !== null && this.#total === null) worker.concurrency = this.#concurrency;
    const info: WorkerInfo = {
      queue: worker.name,
      prefix: worker.opts.prefix ?? 'bull',
      tokenPrefix: `${worker.id}:`,
      redisId: redisIdOfWorker(worker),
      lock: lockTimesOf(worker),
      concurrency: worker.concurrency,
    };
    this.#workers.set(worker, info);
    worker.on('completed', (job: BullJob) => {
      this.processed++;
      this.#ended(job, 'completed');
    });
    worker.on('failed', (job: BullJob | undefined) => {
      this.processed++;
      this.failed++;
      this.#ended(job, 'failed');
    });
    worker.on('lockRenewalFailed', (ids: readonly string[]) => {
      for (const job of this.#held) {
        if (job.worker !== worker || !ids.includes(job.id)) continue;
        job.stale = true;
        abortOf(job).abort(new Error('the lock of the job was lost'));
      }
    });
    worker.on('closed', () => {
      this.#workers.delete(worker);
      this.#pausedHere.delete(worker);
      // closed by force, it may leave jobs behind: they are still looked for if this child dies
      if (!this.held.some((held) => held.worker === worker)) this.#listener.onEnded(info);
    });
    // a listener for `error` itself would keep BullMQ from printing what nobody else listens to
    worker.on(errorMonitor, (error: unknown) => {
      this.logOf(worker).hadTrouble = true;
      this.#listener.onTrouble(worker, error);
    });
    if (this.#quiet) this.#pause(worker, false);
    this.#listener.onStarted(worker, info);
  }

  get list(): readonly BullWorker[] {
    return [...this.#workers.keys()];
  }

  infoOf(worker: BullWorker): WorkerInfo | undefined {
    return this.#workers.get(worker);
  }

  logOf(worker: BullWorker): FetchLog {
    let log = this.#logs.get(worker);
    if (!log) {
      log = new FetchLog();
      this.#logs.set(worker, log);
    }
    return log;
  }

  /** It was told to take no new jobs. */
  get isQuiet(): boolean {
    return this.#quiet;
  }

  find(queue: { queue: string; prefix: string; redisId: string }): BullWorker | undefined {
    for (const [worker, info] of this.#workers) {
      if (info.queue === queue.queue && info.prefix === queue.prefix && info.redisId === queue.redisId)
        return worker;
    }
    return undefined;
  }

  get held(): readonly HeldJob[] {
    return [...this.#held];
  }

  isHeld(worker: BullWorker, jobId: string): boolean {
    return this.held.some((job) => job.worker === worker && job.id === jobId);
  }

  /** A job that somebody else may run from now on: if it still comes, it is not begun. */
  disown(worker: BullWorker, jobId: string, token: string): void {
    this.#disowned.add(ownership(worker, jobId, token));
  }

  /** null: there is none, or more than one. */
  get onlyJob(): HeldJob | null {
    if (this.#held.size !== 1) return null;
    const [job = null] = this.#held;
    return job;
  }

  /**
   * Whose code threw what is being thrown; null: not known. What an ended job has left behind, a connection that all
   * use, say, tells nothing about those that run.
   */
  get throwingJob(): JobRef | null {
    const { current } = this.context;
    const isHeld = current && this.held.some(({ queue, id }) => queue === current.queue && id === current.id);
    return isHeld ? { queue: current.queue, id: current.id } : null;
  }

  get busy(): number {
    return this.#held.size;
  }

  get concurrency(): number {
    if (this.#total !== null) return this.#total;
    let sum = 0;
    for (const worker of this.#workers.keys()) sum += worker.concurrency;
    return sum;
  }

  /** For the beat: see `Beat.started`. */
  get started(): [tokenPrefix: string, jobs: number][] {
    const started: [string, number][] = [];
    for (const [worker, { tokenPrefix }] of this.#workers) {
      if (started.length === MAX_LISTED_WORKERS) break;
      started.push([tokenPrefix, this.logOf(worker).begun]);
    }
    return started;
  }

  /** Oldest first, capped for the beat. */
  get activeJobs(): ActiveJob[] {
    const jobs: ActiveJob[] = [];
    for (const { queue, id, name, startedAtMs } of this.#held) {
      if (jobs.length === MAX_LISTED_JOBS) break;
      jobs.push({ queue, id, name, startedAtMs });
    }
    return jobs;
  }

  /** The signal that a swarm app's processor gets: aborted when its job is taken from it. */
  abortSignalOf(job: BullJob): AbortSignal {
    for (const held of this.#held) {
      if (held.job === job) return abortOf(held).signal;
    }
    return AbortSignal.abort();
  }

  /** Aborts the signal of a job of this Worker that runs, without an id of all of them; returns whether there is one. */
  abort(worker: BullWorker, jobId: string | null, reason: string | undefined): boolean {
    const jobs = this.held.filter((held) => held.worker === worker && (jobId === null || held.id === jobId));
    for (const held of jobs) abortOf(held).abort(reason);
    return jobs.length > 0;
  }

  /** Takes no new jobs. `forGood` also ends the waits for jobs, from which there is no way back. */
  quiet(forGood = false): void {
    this.#quiet = true;
    for (const worker of this.#workers.keys()) this.#pause(worker, forGood);
  }

  #pause(worker: BullWorker, forGood: boolean): void {
    if (!worker.isPaused()) this.#pausedHere.add(worker);
    worker.pause(!forGood).catch(() => {
      // a Worker without Redis takes no jobs either
    });
  }

  async resume(): Promise<void> {
    this.#quiet = false;
    const paused = [...this.#pausedHere];
    this.#pausedHere.clear();
    await Promise.all(paused.map((worker) => worker.resume()));
  }

  /** Asks a run to end by itself, in the ways that its processor may listen to. */
  abortRun(job: GivenUpJob): void {
    const held = this.#runOf(job);
    if (held) tellToEnd(held, job.reason);
  }

  /** From now on these runs, and no others, are not waited for. */
  giveUp(jobs: readonly GivenUpJob[]): void {
    for (const held of this.#held) held.givenUp = false;
    for (const job of jobs) {
      const held = this.#runOf(job);
      if (!held) continue;
      held.givenUp = true;
      tellToEnd(held, job.reason);
    }
    this.#checkIdle();
  }

  /** Resolves when nothing is held any more but what was given up, at the latest after `timeoutMs`. */
  async whenIdle(timeoutMs: number): Promise<void> {
    if (this.#isIdle) return;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#onIdle.push(resolve);
      timer = setTimeout(resolve, timeoutMs);
    });
    clearTimeout(timer);
  }

  async #putBack(worker: BullWorker, job: BullJob, token: string): Promise<void> {
    try {
      if (await moveToWait(job, token)) await wake(worker);
    } catch {
      this.#listener.onOpenEnd(worker);
    }
  }

  get #isIdle(): boolean {
    for (const { givenUp } of this.#held) if (!givenUp) return false;
    return true;
  }

  #checkIdle(): void {
    if (this.#onIdle.length === 0 || !this.#isIdle) return;
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  #runOf(run: Pick<ActiveJob, 'queue' | 'id' | 'startedAtMs'>): HeldJob | undefined {
    for (const job of this.#held) if (isSameRun(job, run)) return job;
    return undefined;
  }

  #ended(job: BullJob | undefined, how: 'completed' | 'failed'): void {
    for (const held of this.#held) if (held.job === job) held.ended = how;
  }

  #follow(worker: BullWorker, job: BullJob, token: string, run: () => Promise<unknown>): Promise<unknown> {
    // fetched by a wait that was under way when this child went quiet
    if (this.#quiet) return this.#putBack(worker, job, token);
    if (this.#disowned.size > 0 && this.#disowned.delete(ownership(worker, job.id ?? '', token)))
      return Promise.resolve();
    const held: HeldJob = {
      queue: worker.name,
      id: job.id ?? '',
      // one whose hash is gone from Redis, while its id still waits, has none; BullMQ runs it all the same
      name: String(job.name ?? ''),
      startedAtMs: Date.now(),
      job,
      token,
      worker,
      abort: null,
      stale: false,
      givenUp: false,
      ended: null,
    };
    this.#held.add(held);
    const begunAtMs = performance.now();
    const log = this.logOf(worker);
    log.begin(job, held.startedAtMs, begunAtMs);
    const memoryRun = this.memory.begin(held.queue, held.name);
    const { queue, id, name, startedAtMs } = held;
    const onBoard = { queue, id, name, attempt: attemptOf(job), startedAtMs };
    const place = this.board.begin(onBoard);
    const done = (): void => {
      this.#held.delete(held);
      const endedAtMs = performance.now();
      log.end(worker.concurrency, endedAtMs);
      this.board.end(place);
      if (held.stale) this.#listener.onStaleEnd(held);
      else if (!held.ended) this.#listener.onOpenEnd(worker);
      this.memory.end(memoryRun);
      if (held.ended === 'completed') this.durations.add(held.queue, held.name, endedAtMs - begunAtMs);
      this.#checkIdle();
    };
    const running = this.context.run(onBoard, run);
    running.then(done, done);
    return running;
  }
}

function abortOf(held: HeldJob): AbortController {
  held.abort ??= new AbortController();
  return held.abort;
}

/** A swarm app's processor has our signal, any other BullMQ's, if it takes one and this BullMQ gives one. */
function tellToEnd({ abort, worker, id }: HeldJob, reason: string): void {
  const error = new Error(reason);
  error.name = 'JobTimeoutError';
  abort?.abort(error);
  worker.cancelJob?.(id, reason);
}

function ownership(worker: BullWorker, jobId: string, token: string): string {
  return JSON.stringify([worker.toKey(jobId), token]);
}

/** Which run of the job this is, from 1. */
function attemptOf({ attemptsStarted, attemptsMade }: BullJob): number | null {
  if (typeof attemptsStarted === 'number') return Math.max(1, attemptsStarted);
  return typeof attemptsMade === 'number' ? attemptsMade + 1 : null;
}
