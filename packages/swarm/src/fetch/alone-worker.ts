/**
 * A BullMQ Worker that asks a gate before it fetches, and knows which of its jobs have blame without a
 * question of its own: the reply that brings a job brings its whole hash. 5.x makes the job of that hash
 * (`createJob`); 6.x makes a record of known fields first, so the reply is looked at before (`replies.ts`).
 *
 * Rejected: `pause()` and `resume()`. A wait for jobs that is under way fetches one although the Worker is
 * paused, and a `resume()` at the moment at which the loop ends is lost.
 */
import type { BullJob, BullModule, BullWorker } from '../child/bullmq.js';
import type { AloneGate, InHand } from './alone-gate.js';
import { BLAME_FIELDS, hasBlame, watchReplies } from './replies.js';

type JobData = Record<string, unknown>;
type FetchNext = () => boolean;

/** Protected methods of BullMQ's Worker, the same in 5.x and 6.x but for a leading client. */
interface FetchingWorker extends BullWorker {
  moveToActive(...args: unknown[]): Promise<BullJob | undefined>;
  nextJobFromJobData(data: JobData | undefined, id?: string, token?: string): Promise<BullJob | undefined>;
  processJob(job: BullJob, token: string, fetchNext?: FetchNext, ...rest: unknown[]): Promise<unknown>;
  run(): Promise<void>;
}

export interface AloneWorker extends FetchingWorker {
  /** Resolves when the job may begin; to `leave` if this Worker was told to take no jobs while it waited for that. */
  turn(job: BullJob): Promise<'begin' | 'leave'>;
  /** The gate is open: fetches that wait at it go on. */
  onOpened(): void;
}

type WorkerClass<W> = new (queue: string, processor: unknown, options: object) => W;

/** What this bullmq does not have of what is relied on here; null: nothing. */
export function missingForAlone(bullmq: BullModule): string | null {
  const worker = methodsOf(bullmq.Worker);
  const missing = ['moveToActive', 'nextJobFromJobData', 'processJob'].find((name) => !worker[name]);
  if (missing) return `Worker.${missing}`;
  const showsHash = !worker['getBackend'] || methodsOf(bullmq.RedisQueueBackend)['execCommand'];
  return showsHash ? null : 'RedisQueueBackend.execCommand';
}

function methodsOf(classOf: { prototype: object } | undefined): Record<string, unknown> {
  return (classOf?.prototype ?? {}) as Record<string, unknown>;
}

/** @param wake puts the queue's marker back, for another child to see its jobs */
export function aloneWorkerClass(
  { Worker }: BullModule,
  gate: AloneGate,
  wake: (worker: BullWorker) => Promise<void>,
): WorkerClass<AloneWorker> {
  const Base = Worker as unknown as WorkerClass<FetchingWorker>;
  return class extends Base implements AloneWorker {
    readonly #inHand = new WeakMap<BullJob, InHand>();
    /** Tokens with which the script that ends a job fetches the next. */
    readonly #fetchesNext = new Set<string>();
    /** Ids of jobs on their way whose reply showed blame. */
    readonly #suspects = new Set<string>();
    /** Fetches that wait at the gate. */
    #atGate: (() => void)[] = [];
    /** Jobs that came and were not begun. */
    #unbegun = 0;

    constructor(queue: string, processor: unknown, options: object) {
      super(queue, processor, options);
      watchReplies(this, () => (reply) => {
        if (hasBlame(reply?.[0])) this.#suspects.add(String(reply?.[1]));
        return undefined;
      });
    }

    async turn(job: BullJob): Promise<'begin' | 'leave'> {
      const inHand = this.#inHand.get(job);
      const waited = inHand ? await gate.turn(inHand) : false;
      return waited && this.#takesNoJobs() ? 'leave' : 'begin';
    }

    onOpened(): void {
      this.#letGo();
    }

    override async moveToActive(...args: unknown[]): Promise<BullJob | undefined> {
      // BullMQ's answer to a job that moved itself: the fetch was granted to the end of that job
      if (args.some((arg) => this.#fetchesNext.has(arg as string))) return super.moveToActive(...args);
      while (!gate.tryFetch()) {
        // what it was woken by is for another child now
        await wake(this).catch(() => {});
        if (this.#mustGoOn()) return undefined;
        if (!gate.isOpen) await new Promise<void>((resolve) => this.#atGate.push(resolve));
        if (this.#mustGoOn()) return undefined;
      }
      try {
        return await super.moveToActive(...args);
      } finally {
        gate.endFetch();
      }
    }

    override async nextJobFromJobData(
      data: JobData | undefined,
      id = '',
      token = '',
    ): Promise<BullJob | undefined> {
      if (!data) return super.nextJobFromJobData(data, id, token);
      const suspect = this.#suspects.delete(id) || BLAME_FIELDS.some((field) => Number(data[field]) > 0);
      const inHand = { queue: this.name, id, suspect };
      gate.came(inHand);
      this.#unbegun += 1;
      // the loop that would begin it may stand at the gate itself
      this.#letGo();
      let job: BullJob | undefined;
      try {
        job = await super.nextJobFromJobData(data, id, token);
      } finally {
        if (job) this.#inHand.set(job, inHand);
        else {
          this.#unbegun -= 1;
          gate.left(inHand);
        }
      }
      return job;
    }

    override async processJob(
      job: BullJob,
      token: string,
      fetchNext: FetchNext = () => true,
      ...rest: unknown[]
    ): Promise<unknown> {
      const inHand = this.#inHand.get(job);
      if (inHand) this.#unbegun -= 1;
      try {
        return await super.processJob(job, token, () => fetchNext() && this.#grantNext(token), ...rest);
      } finally {
        if (this.#fetchesNext.delete(token)) gate.endFetch();
        this.#inHand.delete(job);
        if (inHand) gate.left(inHand);
      }
    }

    override async pause(doNotWaitActive?: boolean): Promise<void> {
      const paused = super.pause(doNotWaitActive);
      this.#letGo();
      await paused;
    }

    override async close(force?: boolean): Promise<void> {
      const closed = super.close(force);
      this.#letGo();
      await closed;
    }

    #grantNext(token: string): boolean {
      if (this.#fetchesNext.has(token)) return true;
      if (!gate.tryFetch()) return false;
      this.#fetchesNext.add(token);
      return true;
    }

    /** A fetch that waits would keep the loop from a job that it has, or from its end. */
    #mustGoOn(): boolean {
      return this.#unbegun > 0 || this.#takesNoJobs();
    }

    #takesNoJobs(): boolean {
      return this.isPaused() || Boolean((this as { closing?: unknown }).closing);
    }

    #letGo(): void {
      for (const goOn of this.#atGate.splice(0)) goOn();
    }
  };
}
