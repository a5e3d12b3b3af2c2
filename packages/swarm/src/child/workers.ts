/**
 * Every BullMQ Worker of this child and every job in its hands. A Worker is known from its first `run`,
 * before it can take a job; a job from the start of `processJob` to its end.
 *
 * Rejected: to follow BullMQ's events. A job that ends by DelayedError, RateLimitError or
 * WaitingChildrenError emits none, and would be counted as active for ever.
 */
import { type ActiveJob, MAX_LISTED_JOBS, MAX_LISTED_WORKERS, type WorkerInfo } from '../protocol.js';
import { type BullJob, type BullModule, type BullWorker, lockTimesOf, redisIdOfWorker } from './bullmq.js';
import { JobMemory } from './job-memory.js';

export interface HeldJob extends ActiveJob {
  job: BullJob;
  token: string;
  worker: BullWorker;
  abort: AbortController | null;
  /** No longer ours, although its run here has not come to its end. */
  stale: boolean;
}

export interface WorkersListener {
  onStarted(worker: BullWorker, info: WorkerInfo): void;
  /** A run came to its end after its job was no longer ours: what it returned counts for nothing. */
  onStaleEnd(job: ActiveJob): void;
}

export class Workers {
  processed = 0;
  failed = 0;
  readonly memory = new JobMemory();
  readonly #workers = new Map<BullWorker, KnownWorker>();
  /** Jobs begun, by Worker in the order in which they were announced. */
  readonly #started: number[] = [];
  readonly #held = new Set<HeldJob>();
  readonly #disowned = new Set<string>();
  readonly #listener: WorkersListener;
  /** null: each Worker's own. */
  readonly #concurrency: number | null;
  /** What all Workers share; null: each has its own. */
  #total: number | null = null;
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

  /** All Workers that are added from now on share so many places. */
  share(total: number): void {
    this.#total = total;
  }

  /** @param places jobs of it at once, where Workers share them */
  add(worker: BullWorker, places?: number): void {
    if (this.#workers.has(worker)) return;
    if (this.#concurrency !== null && this.#total === null) worker.concurrency = this.#concurrency;
    const info: WorkerInfo = {
      queue: worker.name,
      prefix: worker.opts.prefix ?? 'bull',
      tokenPrefix: `${worker.id}:`,
      redisId: redisIdOfWorker(worker),
      lock: lockTimesOf(worker),
      concurrency: places ?? worker.concurrency,
    };
    this.#workers.set(worker, { info, index: this.#started.push(0) - 1 });
    worker.on('completed', () => this.processed++);
    worker.on('failed', () => {
      this.processed++;
      this.failed++;
    });
    worker.on('lockRenewalFailed', (ids: readonly string[]) => {
      for (const job of this.#held) {
        if (job.worker !== worker || !ids.includes(job.id)) continue;
        job.stale = true;
        abortOf(job).abort(new Error('the lock of the job was lost'));
      }
    });
    worker.on('closed', () => this.#workers.delete(worker));
    if (this.#quiet) void worker.pause(true);
    this.#listener.onStarted(worker, info);
  }

  get list(): readonly BullWorker[] {
    return [...this.#workers.keys()];
  }

  find(queue: { queue: string; prefix: string; redisId: string }): BullWorker | undefined {
    for (const [worker, { info }] of this.#workers) {
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
  get started(): number[] {
    return this.#started.slice(0, MAX_LISTED_WORKERS);
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
    };
    this.#held.add(held);
    const index = this.#workers.get(worker)?.index;
    if (index !== undefined) this.#started[index] = (this.#started[index] ?? 0) + 1;
    const memoryRun = this.memory.begin(held.queue, held.name);
    const done = (): void => {
      this.#held.delete(held);
      if (held.stale) this.#listener.onStaleEnd(held);
      this.memory.end(memoryRun);
      if (this.#held.size > 0) return;
      for (const resolve of this.#onIdle.splice(0)) resolve();
    };
    const running = run();
    running.then(done, done);
    return running;
  }
}

interface KnownWorker {
  info: WorkerInfo;
  /** Its place in `#started`. */
  index: number;
}

function abortOf(held: HeldJob): AbortController {
  held.abort ??= new AbortController();
  return held.abort;
}

function ownership(worker: BullWorker, jobId: string, token: string): string {
  return JSON.stringify([worker.toKey(jobId), token]);
}

function ignore(): void {}
