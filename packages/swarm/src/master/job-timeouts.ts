/**
 * Watches how long jobs run, from the beats of their children, so that a child whose loop does not turn is watched
 * like any other. What is decided about a job (`supervisor/job-timeouts.ts`) becomes a dump, a message to its child or
 * an event of the core.
 *
 * Invariant: a job's time is that of this master's monotonic clock. A child says when a job began by the clock on
 * the wall, which may jump; it is believed only as far back as to the last beat without that job.
 */
import type { Config } from '../config.js';
import { type DumpRecord, summaryOf } from '../dump.js';
import type { ChildHandle } from '../process/child-handle.js';
import type { ActiveJob, Beat, GivenUpJob, JobRef } from '../protocol.js';
import type { SupervisorEvent } from '../supervisor/events.js';
import {
  afterDump,
  type JobAct,
  type JobClock,
  type JobLimit,
  lookAtClock,
  shiftClock,
  startClock,
} from '../supervisor/job-timeouts.js';
import type { Narrator } from './narrator.js';

/** Between two beats, and some more. */
const BEAT_MS = 2_500;
/** Between two looks of ours; after a longer pause we were stopped ourselves. */
const ON_TIME_MS = 4_000;
/** Jobs of one child that are past their time soon after each other share a dump. */
const SAME_DUMP_MS = 5_000;
/** It is written into the job's hash. */
const MAX_REASON_LENGTH = 1_000;

export interface JobTimeoutsParts {
  config: Pick<Config, 'jobTimeoutMs' | 'jobTimeoutAction'>;
  narrator: Narrator;
  children: () => Iterable<ChildHandle>;
  /** A debugger holds it: what time passes is nobody's. */
  isAtBreakpoint: (identity: string) => boolean;
  dump: (child: ChildHandle, about: JobRef) => Promise<DumpRecord | null>;
  ask: (event: SupervisorEvent) => void;
}

interface Watched {
  job: ActiveJob;
  limit: JobLimit;
  clock: JobClock;
  /** From the time of its dump on. */
  reason: string;
}

export class JobTimeouts {
  readonly #parts: JobTimeoutsParts;
  /** By the child's identity, then by run. */
  readonly #watched = new Map<string, Map<string, Watched>>();
  /** By the child's identity: the last. */
  readonly #dumps = new Map<string, { record: DumpRecord; takenAtMs: number }>();
  /** By the child's identity: its last beat, and when it was the first time that it was there. */
  readonly #beats = new Map<string, { beat: Beat | null; atMs: number }>();
  #lookedAtMs = performance.now();

  constructor(parts: JobTimeoutsParts) {
    this.#parts = parts;
  }

  /** Each second. */
  look(): void {
    const nowMs = performance.now();
    const gapMs = nowMs - this.#lookedAtMs;
    this.#lookedAtMs = nowMs;
    for (const child of this.#parts.children()) {
      if (child.exit) continue;
      const isLost = gapMs > ON_TIME_MS || this.#parts.isAtBreakpoint(child.identity);
      const jobs = this.#renew(child, nowMs, isLost ? gapMs : 0);
      if (!jobs) continue;
      for (const watched of jobs.values())
        this.#step(child, watched, lookAtClock(watched.clock, nowMs), nowMs);
    }
  }

  /** The last dump that a job of this child gave occasion to. */
  dumpOf(identity: string): DumpRecord | null {
    return this.#dumps.get(identity)?.record ?? null;
  }

  /** Runs of this child that were given up and have not ended. */
  givenUpBy(identity: string): GivenUpJob[] {
    const jobs = [...(this.#watched.get(identity)?.values() ?? [])];
    return jobs.filter(({ clock }) => clock.step === 'givenUp').map(toldOf);
  }

  forget({ identity }: ChildHandle): void {
    this.#watched.delete(identity);
    this.#beats.delete(identity);
    this.#dumps.delete(identity);
  }

  /** Its jobs as of its last beat, each with its clock. */
  #renew(child: ChildHandle, nowMs: number, lostMs: number): Map<string, Watched> | null {
    const before = this.#watched.get(child.identity);
    const jobs = new Map<string, Watched>();
    const maxAgeMs = this.#sinceBeatMs(child, nowMs) + BEAT_MS;
    for (const job of child.jobs) {
      const limit = this.#limitOf(child, job);
      // one that waits for its turn to run alone has not begun
      if (!limit || child.waiting.some(({ queue, id }) => queue === job.queue && id === job.id)) continue;
      const key = JSON.stringify([job.queue, job.id, job.startedAtMs]);
      const known = before?.get(key);
      if (known && lostMs > 0) known.clock = shiftClock(known.clock, lostMs);
      // one that was not in an earlier beat began after it
      const sinceMs = nowMs - Math.min(maxAgeMs, Math.max(0, Date.now() - job.startedAtMs));
      jobs.set(key, known ?? { job, limit, clock: startClock(sinceMs, limit), reason: '' });
    }
    if (jobs.size === 0) this.#watched.delete(child.identity);
    else this.#watched.set(child.identity, jobs);
    return jobs.size === 0 ? null : jobs;
  }

  #sinceBeatMs({ identity, beat }: ChildHandle, nowMs: number): number {
    const last = this.#beats.get(identity);
    if (last?.beat === beat) return nowMs - last.atMs;
    this.#beats.set(identity, { beat, atMs: nowMs });
    return 0;
  }

  #limitOf(child: ChildHandle, { queue }: ActiveJob): JobLimit | null {
    const { jobTimeoutMs, jobTimeoutAction: action } = this.#parts.config;
    if (jobTimeoutMs === null && child.jobTimeouts.size === 0) return null;
    const own = child.jobTimeouts.get(queue);
    const timeoutMs = own === undefined ? jobTimeoutMs : own;
    return timeoutMs === null ? null : { timeoutMs, action };
  }

  #step(
    child: ChildHandle,
    watched: Watched,
    { clock, act }: { clock: JobClock; act: JobAct | null },
    nowMs: number,
  ): void {
    watched.clock = clock;
    const { limit } = watched;
    if (act === 'dump') return void this.#dump(child, watched, nowMs);
    const told = toldOf(watched);
    if (act !== null) this.#parts.narrator.jobAct(child, act, told);
    if (act === 'abort') child.send({ type: 'abortJob', job: told });
    // asked for again and again: what was to replace its child may have been given up itself
    if (clock.step !== 'givenUp' || limit.action === 'dump') return;
    const { slot, identity } = child;
    this.#parts.ask({ type: 'jobGivenUp', slot, identity, job: told, isAlone: this.#isAlone(child) });
  }

  async #dump(child: ChildHandle, watched: Watched, nowMs: number): Promise<void> {
    const { job, limit, clock } = watched;
    if (clock.dumps === 1) this.#parts.narrator.jobOverdue(child, job, nowMs - clock.sinceMs, limit);
    const dump = await this.#dumpAbout(child, { queue: job.queue, id: job.id });
    // it has ended meanwhile, or its child
    if (!this.#isWatched(child, watched)) return;
    watched.reason = reasonOf(watched, dump);
    const atMs = performance.now();
    this.#step(child, watched, afterDump(watched.clock, limit, atMs), atMs);
  }

  async #dumpAbout(child: ChildHandle, job: JobRef): Promise<DumpRecord | null> {
    const last = this.#dumps.get(child.identity);
    if (last && performance.now() - last.takenAtMs < SAME_DUMP_MS) return last.record;
    const record = await this.#parts.dump(child, job);
    if (record && !child.exit) this.#dumps.set(child.identity, { record, takenAtMs: performance.now() });
    return record;
  }

  #isWatched({ identity }: ChildHandle, watched: Watched): boolean {
    return [...(this.#watched.get(identity)?.values() ?? [])].includes(watched);
  }

  /** It has no other job, and no room for one. */
  #isAlone({ identity, beat, concurrency }: ChildHandle): boolean {
    const jobs = [...(this.#watched.get(identity)?.values() ?? [])];
    const givenUp = jobs.filter(({ clock }) => clock.step === 'givenUp').length;
    return beat !== null && givenUp === beat.busy && beat.busy >= concurrency;
  }
}

function toldOf({ job: { queue, id, startedAtMs }, reason }: Watched): GivenUpJob {
  return { queue, id, startedAtMs, reason };
}

/** `job timeout: it had not ended after 30.2 s (its limit: 30 s); the loop turns, and the job does not end: it may wait for …` */
function reasonOf({ job, clock, limit }: Watched, dump: DumpRecord | null): string {
  const seconds = (ms: number): string => `${Number((ms / 1_000).toFixed(1))} s`;
  const age = seconds(performance.now() - clock.sinceMs);
  const told = dump ? `; ${summaryOf(asAbout(job, dump))}` : '';
  return `job timeout: it had not ended after ${age} (its limit: ${seconds(limit.timeoutMs)})${told}`.slice(
    0,
    MAX_REASON_LENGTH,
  );
}

/**
 * A dump that was taken for another job of the same child says as much about this one, but where the loop stands: in which code
 * is said only of the job whose code it is.
 */
function asAbout({ queue, id }: ActiveJob, dump: DumpRecord): DumpRecord {
  const isThis = (other: { queue: string; id: string } | null): boolean =>
    other?.queue === queue && other.id === id;
  const job = dump.jobs.find(isThis);
  if (dump.kind === 'job' || dump.kind === 'turning') return job ? { ...dump, kind: 'job', job } : dump;
  if (isThis(dump.job)) return dump;
  return { ...dump, stack: [], tops: [], native: null, isAfterBlock: false };
}
