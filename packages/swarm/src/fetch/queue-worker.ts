/**
 * BullMQ's Worker for one of a child's queues, without its main loop: the pump says when it fetches and what it runs.
 * All else is BullMQ's own: locks, retries, flows, schedulers, limits, events, telemetry. It is of the app's own bullmq, 5.x
 * or 6.x, and uses what is public or protected there; `missingForQueueWorkers` says what an older release lacks.
 */
import type { BullJob, BullModule, BullWorker } from '../child/bullmq.js';
import type { AloneGate, InHand } from './alone-gate.js';
import type { Lease } from './gate.js';
import type { Known } from './known.js';
import { type JobInProgress, LockRenewal } from './lock-renewal.js';
import type { Source } from './pump-queue.js';
import { BLAME_FIELDS, hasBlame, type RawReply, showsReplies, watchReplies } from './replies.js';
import type { ReplyGroups } from './reply-groups.js';
import type { WriteBatches } from './write-batches.js';

type JobData = Record<string, unknown>;
type FetchNext = () => boolean;

/** Public and protected methods of BullMQ's Worker, the same in 5.x and 6.x but for a leading client. */
interface PumpedWorker extends BullWorker {
  moveToActive(...args: unknown[]): Promise<BullJob | undefined>;
  nextJobFromJobData(data: JobData | undefined, id?: string, token?: string): Promise<BullJob | undefined>;
  processJob(
    job: BullJob,
    token: string,
    fetchNext: FetchNext,
    inProgress?: Set<JobInProgress>,
  ): Promise<BullJob | undefined>;
  startStalledCheckTimer(): Promise<void>;
  run(): Promise<void>;
  isRunning(): boolean;
  cancelJob?(jobId: string, reason?: string): boolean;
  cancelAllJobs?(reason?: string): void;
  readonly lockManager?: { start(): void; untrackJob(jobId: string): void };
  /** Before there was a lock manager. */
  extendLocks?(jobs: BullJob[]): Promise<void>;
}

export interface QueueWorker extends PumpedWorker, Source<BullJob> {
  /** Keeps locks alive, and looks for stalled jobs. */
  run(): Promise<void>;
  /** Whether the job may begin, once it is its turn; false if it waited for that, and this Worker was paused meanwhile. */
  turn(job: BullJob): Promise<boolean>;
  isSuspect(job: BullJob): boolean;
  /** Aborted when its place under the queue's limit is lost. */
  lostSignalOf(job: BullJob): AbortSignal | undefined;
}

interface Held {
  inHand: InHand;
  token: string;
  lost: AbortSignal | undefined;
}

/** Shared by all queues of a child, since they share the connection. */
export interface WireOrder {
  groups: ReplyGroups;
  batches: WriteBatches;
}

export interface QueueWorkerListener {
  onPaused(worker: QueueWorker): void;
  onResumed(worker: QueueWorker): void;
  /** Aborts the run of a job, of all jobs without an id; returns whether there is one. */
  cancel(worker: QueueWorker, jobId: string | null, reason: string | undefined): boolean;
}

type WorkerClass<W, Rest extends unknown[] = []> = new (
  queue: string,
  processor: unknown,
  options: object,
  ...rest: Rest
) => W;

/** What this bullmq does not have of what is relied on here; null: nothing. */
export function missingForQueueWorkers(bullmq: BullModule): string | null {
  const worker = bullmq.Worker.prototype as Record<string, unknown>;
  const methods = [
    'moveToActive',
    'nextJobFromJobData',
    'processJob',
    'startStalledCheckTimer',
    'run',
    'pause',
  ];
  const missing = methods.find((name) => typeof worker[name] !== 'function');
  if (missing) return `Worker.${missing}`;
  if (!worker['createLockManager'] && !worker['extendLocks']) return 'Worker.extendLocks';
  return showsReplies(bullmq) ? null : 'execCommand';
}

export function queueWorkerClass(
  { Worker }: BullModule,
  gate: AloneGate,
  { groups, batches }: WireOrder,
  listener: QueueWorkerListener,
): WorkerClass<QueueWorker, [known: Known]> {
  const Base = Worker as unknown as WorkerClass<PumpedWorker>;
  return class extends Base implements QueueWorker {
    readonly known: Known;
    /** Until their runs have ended; a weak map costs the collector as much as all else that is kept of a job. */
    readonly #held = new Map<BullJob, Held>();
    /** By token: jobs that came, and were not handed over yet. */
    readonly #arrived = new Map<string, InHand>();
    /** Ids of jobs on their way whose reply showed blame. */
    readonly #suspects = new Set<string>();
    readonly #renewal: LockRenewal | null;
    #lastToken = 0;
    #isClosing = false;
    #runs = false;
    #client: unknown;

    constructor(queue: string, processor: unknown, options: object, known: Known) {
      super(queue, processor, options);
      this.known = known;
      const { lockRenewTime } = this.opts;
      this.#renewal = this.lockManager
        ? null
        : new LockRenewal(Number(lockRenewTime), async (jobs) => this.extendLocks?.(jobs));
      watchReplies(this, () => {
        const { signs } = known;
        // to hold back one that will be alone only costs time
        if (groups.areSeveral) batches.join();
        groups.sent();
        return (reply) => {
          groups.came();
          // that a suspect waits is to be known before any other job of that moment begins
          return this.#onReply(reply, signs) ? undefined : groups.turn();
        };
      });
    }

    async fetch(): Promise<BullJob | null> {
      this.#lastToken += 1;
      const token = `${this.id}:${this.#lastToken}`;
      return this.#take(token, await this.#moveToActive(token));
    }

    async process(job: BullJob, fetchNext: FetchNext, lease: Lease | null): Promise<BullJob | null> {
      const held = this.#held.get(job);
      if (held && lease) held.lost = lease.lost;
      const token = held?.token ?? '';
      try {
        const next = await (this.#renewal
          ? this.processJob(job, token, fetchNext, this.#renewal.inProgress)
          : this.processJob(job, token, fetchNext));
        return this.#take(token, next);
      } finally {
        this.#held.delete(job);
        if (held) gate.left(held.inHand);
      }
    }

    async turn(job: BullJob): Promise<boolean> {
      const held = this.#held.get(job);
      if (!held?.inHand.suspect) return true;
      const waited = await gate.turn(held.inHand);
      return !(waited && this.isPaused());
    }

    isSuspect(job: BullJob): boolean {
      return this.#held.get(job)?.inHand.suspect ?? false;
    }

    lostSignalOf(job: BullJob): AbortSignal | undefined {
      return this.#held.get(job)?.lost;
    }

    override async run(): Promise<void> {
      // older releases resume what they close
      if (this.#isClosing) return;
      this.#runs = true;
      await this.startStalledCheckTimer();
      if (this.#renewal) this.#renewal.start();
      else this.lockManager?.start();
    }

    override isRunning(): boolean {
      return this.#runs && !this.#isClosing;
    }

    override nextJobFromJobData(
      data: JobData | undefined,
      id = '',
      token = '',
    ): Promise<BullJob | undefined> {
      if (data) {
        const suspect = this.#suspects.delete(id) || BLAME_FIELDS.some((field) => Number(data[field]) > 0);
        const inHand = { queue: this.name, id, suspect };
        gate.came(inHand);
        this.#arrived.set(token, inHand);
      }
      return super.nextJobFromJobData(data, id, token);
    }

    /** Whoever pauses it has its own way to wait for jobs. */
    override async pause(): Promise<void> {
      const paused = super.pause(true);
      listener.onPaused(this);
      await paused;
    }

    override async resume(): Promise<void> {
      await super.resume();
      listener.onResumed(this);
    }

    override async close(force?: boolean): Promise<void> {
      this.#isClosing = true;
      this.#renewal?.stop();
      await super.close(force);
    }

    /** Jobs get a signal of ours, so that those that never ask for one need none. */
    override cancelJob(jobId: string, reason?: string): boolean {
      return listener.cancel(this, jobId, reason);
    }

    override cancelAllJobs(reason?: string): void {
      listener.cancel(this, null, reason);
    }

    async #moveToActive(token: string): Promise<BullJob | undefined> {
      const { name } = this.opts as { name?: string };
      try {
        if (this.getBackend) return await this.moveToActive(token, name);
        this.#client ??= await this.client;
        return await this.moveToActive(this.#client, token, name);
      } catch (error) {
        // a job came, and BullMQ can make nothing of it
        this.#take(token, undefined);
        throw error;
      }
    }

    /** @returns whether the job that came is a suspect */
    #onReply(reply: RawReply, signs: number): boolean {
      if (!reply) return false;
      const [hash, id, limitedMs, dueAtMs] = reply;
      const said = { job: Boolean(hash), limitedMs: Number(limitedMs), dueAtMs: Number(dueAtMs) };
      this.known.replied(said, signs, Date.now());
      const isSuspect = hasBlame(hash);
      if (isSuspect) this.#suspects.add(String(id));
      return isSuspect;
    }

    /** A job that came may be gone before it is begun: BullMQ could not schedule the one after it. */
    #take(token: string, job: BullJob | undefined): BullJob | null {
      const inHand = this.#arrived.get(token);
      if (!inHand) return null;
      this.#arrived.delete(token);
      if (job) this.#held.set(job, { inHand, token, lost: undefined });
      else gate.left(inHand);
      return job ?? null;
    }
  };
}
