/**
 * Every BullMQ Worker of this child and every job in its hands. A Worker is known from its first `run`,
 * before it can take a job; a job from the start of `processJob` to its end.
 *
 * Rejected: to follow BullMQ's events. A job that ends by DelayedError, RateLimitError or
 * WaitingChildrenError emits none, and would be counted as active for ever.
 */
import { type ActiveJob, MAX_LISTED_JOBS, type WorkerInfo } from '../protocol.js';
import { type BullJob, type BullModule, type BullWorker, lockTimesOf, redisIdOfWorker } from './bullmq.js';
import { JobBoard } from './job-board.js';
import { JobContext } from './job-context.js';
import { JobMemory } from './job-memory.js';

export interface HeldJob extends ActiveJob {
  job: BullJob;
  token: string;
  worker: BullWorker;
  abort: AbortController | null;
  /** No longer ours, although its run here has not come to its end. */
  stale: boolean;
  /** BullMQ has said that it completed or failed. */
  ended: boolean;
}

export interface WorkersListener {
  onStarted(worker: BullWorker, info: WorkerInfo): void;
  /** A run came to its end after its job was no longer ours: what it returned counts for nothing. */
  onStaleEnd(job: ActiveJob): void;
  /** A run came to its end, and its job neither completed nor failed: it was delayed, or Redis has refused its end. */
  onOpenEnd(worker: BullWorker): void;
}

export class Workers {
  processed = 0;
  failed = 0;
  readonly memory = new JobMemory();
  /** For the watchdog. */
  readonly board = new JobBoard();
  readonly context = new JobContext();
  readonly #workers = new Map<BullWorker, WorkerInfo>();
  readonly #held = new Set<HeldJob>();
  readonly #disowned = new Set<string>();
  readonly #listener: WorkersListener;
  /** null: each Worker's own. */
  readonly #concurrency: number | null;
  #quiet = false;
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

  add(worker: BullWorker): void {
    if (this.#workers.has(worker)) return;
    const info: WorkerInfo = {
      queue: worker.name,
      prefix: worker.opts.prefix ?? 'bull',
      tokenPrefix: `${worker.id}:`,
      redisId: redisIdOfWorker(worker),
      lock: lockTimesOf(worker),
    };
    this.#workers.set(worker, info);
    if (this.#concurrency !== null) worker.concurrency = this.#concurrency;
    worker.on('completed', (job: BullJob) => {
      this.processed++;
      this.#ended(job);
    });
    worker.on('failed', (job: BullJob | undefined) => {
      this.processed++;
      this.failed++;
      this.#ended(job);
    });
    worker.on('lockRenewalFailed', (ids: readonly string[]) => {
      for (const job of this.#held) if (job.worker === worker && ids.includes(job.id)) job.stale = true;
    });
    worker.on('closed', () => this.#workers.delete(worker));
    if (this.#quiet) void worker.pause(true);
    this.#listener.onStarted(worker, info);
  }

  get list(): readonly BullWorker[] {
    return [...this.#workers.keys()];
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

  get busy(): number {
    return this.#held.size;
  }

  get concurrency(): number {
    let sum = 0;
    for (const worker of this.#workers.keys()) sum += worker.concurrency;
    return sum;
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
      if (held.job !== job) continue;
      held.abort ??= new AbortController();
      return held.abort.signal;
    }
    return AbortSignal.abort();
  }

  /** Takes no new jobs. `forGood` also ends the waits for jobs, from which there is no way back. */
  quiet(forGood = false): void {
    this.#quiet = true;
    for (const worker of this.#workers.keys()) {
      worker.pause(!forGood).catch(() => {
        // a Worker without Redis takes no jobs either
      });
    }
  }

  async resume(): Promise<void> {
    this.#quiet = false;
    await Promise.all([...this.#workers.keys()].map((worker) => worker.resume()));
  }

  /** Resolves to whether nothing is held any more, at the latest after `timeoutMs`. */
  async whenIdle(timeoutMs: number): Promise<boolean> {
    if (this.busy === 0) return true;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#onIdle.push(resolve);
      timer = setTimeout(resolve, timeoutMs);
    });
    clearTimeout(timer);
    return this.busy === 0;
  }

  #ended(job: BullJob | undefined): void {
    for (const held of this.#held) if (held.job === job) held.ended = true;
  }

  #follow(worker: BullWorker, job: BullJob, token: string, run: () => Promise<unknown>): Promise<unknown> {
    // fetched by a wait that was under way when this child went quiet
    if (this.#quiet) return job.moveToWait(token).then(ignore, ignore);
    if (this.#disowned.delete(ownership(worker, job.id ?? '', token))) return Promise.resolve();
    const held: HeldJob = {
      queue: worker.name,
      id: job.id ?? '',
      name: job.name,
      startedAtMs: Date.now(),
      job,
      token,
      worker,
      abort: null,
      stale: false,
      ended: false,
    };
    this.#held.add(held);
    const memoryRun = this.memory.begin(held.queue, held.name);
    const { queue, id, name, startedAtMs } = held;
    const onBoard = { queue, id, name, attempt: attemptOf(job), startedAtMs };
    const place = this.board.begin(onBoard);
    const done = (): void => {
      this.#held.delete(held);
      this.board.end(place);
      if (held.stale) this.#listener.onStaleEnd(held);
      else if (!held.ended) this.#listener.onOpenEnd(worker);
      this.memory.end(memoryRun);
      if (this.#held.size > 0) return;
      for (const resolve of this.#onIdle.splice(0)) resolve();
    };
    const running = this.context.run(onBoard, run);
    running.then(done, done);
    return running;
  }
}

function ownership(worker: BullWorker, jobId: string, token: string): string {
  return JSON.stringify([worker.toKey(jobId), token]);
}

/** Which run of the job this is, from 1. */
function attemptOf({ attemptsStarted, attemptsMade }: BullJob): number | null {
  if (typeof attemptsStarted === 'number') return Math.max(1, attemptsStarted);
  return typeof attemptsMade === 'number' ? attemptsMade + 1 : null;
}

function ignore(): void {}
