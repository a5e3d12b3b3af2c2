/**
 * Renews the locks of running jobs for releases of bullmq 5 that leave it to their main loop: there `processJob` keeps
 * a set of the jobs in progress for whoever does it.
 */
import type { BullJob } from '../child/bullmq.js';

/** As BullMQ's main loop has it. */
export interface JobInProgress {
  job: BullJob;
  /** When its lock was last set or renewed, epoch ms. */
  ts: number;
}

export class LockRenewal {
  readonly inProgress = new Set<JobInProgress>();
  readonly #renewMs: number;
  readonly #extend: (jobs: BullJob[]) => Promise<void>;
  #timer: NodeJS.Timeout | undefined;

  /** @param renewMs BullMQ's `lockRenewTime` */
  constructor(renewMs: number, extend: (jobs: BullJob[]) => Promise<void>) {
    this.#renewMs = renewMs;
    this.#extend = extend;
  }

  start(): void {
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#renew(), this.#renewMs / 2);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #renew(): void {
    const nowMs = Date.now();
    const due = [...this.inProgress].filter(({ ts }) => ts + this.#renewMs / 2 < nowMs);
    for (const item of due) item.ts = nowMs;
    // it reports its errors itself, and the next round tries again
    if (due.length > 0) this.#extend(due.map(({ job }) => job)).catch(() => {});
  }
}
