/**
 * The jobs of one death, and what became of each. A releaser says what it is about to do before it does it: if it dies
 * over it, the next one finds nothing any more, and would take the jobs for finished.
 */
import type { DeathJob, JobOutcome } from '../death.js';
import type { ActiveJob, JobRef, ReleasedJob } from '../protocol.js';

const MAX_NAME_LENGTH = 256;

export class DeathJobs {
  readonly #jobs: DeathJob[];
  /** What releasers were about to do, and how many of them. */
  readonly #plans = new Map<DeathJob, { outcome: JobOutcome; releasers: number }>();

  constructor(jobs: readonly DeathJob[]) {
    this.#jobs = [...jobs];
  }

  get list(): readonly DeathJob[] {
    return this.#jobs;
  }

  /** Somebody has found them, and is about to move them. */
  releasing(jobs: readonly ReleasedJob[]): void {
    for (const job of jobs) {
      const known = this.#know(job);
      const { releasers = 0 } = this.#plans.get(known) ?? {};
      if (job.outcome !== 'finished')
        this.#plans.set(known, { outcome: job.outcome, releasers: releasers + 1 });
      known.blame = job.blame ?? known.blame;
    }
  }

  /**
   * Somebody has looked for all of them: those that were not found were over before, but for those of queues that the
   * releaser does not work for.
   */
  released(jobs: readonly ReleasedJob[], unserved: readonly string[]): void {
    for (const job of jobs) {
      const { outcome, blame } = job;
      const known = this.#know(job);
      // it lost the job to somebody: if another releaser was at it as well, to that one
      const { releasers = 0 } = this.#plans.get(known) ?? {};
      if (outcome !== 'finished' || releasers < 2) Object.assign(known, { outcome, blame });
    }
    for (const job of this.#jobs) {
      if (job.outcome === 'pending' && !unserved.includes(job.queue)) {
        job.outcome = this.#plans.get(job)?.outcome ?? 'finished';
      }
    }
  }

  #know({ queue, id, name }: JobRef & { name: string }): DeathJob {
    const known = this.#jobs.find((job) => job.queue === queue && job.id === id);
    if (known) return known;
    const job = deathJob({ queue, id, name, startedAtMs: null }, 'pending');
    this.#jobs.push(job);
    return job;
  }
}

export function deathJob(
  { queue, id, name, startedAtMs }: Omit<ActiveJob, 'startedAtMs'> & { startedAtMs: number | null },
  outcome: JobOutcome,
): DeathJob {
  return { queue, id, name: name.slice(0, MAX_NAME_LENGTH), startedAtMs, outcome, blame: null };
}
