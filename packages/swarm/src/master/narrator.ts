/** What a master says about its children: one line an event, one shape for all of them. */

import { isPlanned } from '../death.js';
import type { Logger } from '../log.js';
import type { ChildHandle } from '../process/child-handle.js';
import type { ActiveJob, ChildMessage, GivenUpJob, JobRef } from '../protocol.js';
import type { Effect } from '../supervisor/events.js';
import type { JobLimit } from '../supervisor/job-timeouts.js';
import type { KillReason } from '../supervisor/state.js';
import type { Block } from '../supervisor/stuck.js';
import type { Death } from './deaths.js';
import { ReleaseTrouble } from './release-trouble.js';
import { Repeats } from './repeats.js';

type Message<T extends ChildMessage['type']> = Extract<ChildMessage, { type: T }>;

/** A log line names jobs only as far as it stays a line. */
const MAX_NAMED_CHARACTERS = 400;
/** So many different things no app has to say; a child gone mad does not fill the master's memory. */
const MAX_RELAYED = 100;

/** Of one child; more of them are counted. */
const MAX_MALFORMED = 20;

export class Narrator {
  readonly #relayed = new Set<string>();
  readonly #repeats: Repeats;
  readonly releases: ReleaseTrouble;

  constructor(private readonly log: Logger) {
    this.#repeats = new Repeats(log);
    this.releases = new ReleaseTrouble(log);
  }

  spawned(child: ChildHandle): void {
    this.log.info('spawned', where(child));
  }

  ready(child: ChildHandle, message: Message<'ready'>): void {
    const after = `${Date.now() - child.startedAtMs}ms`;
    const { concurrency, bullmqVersion } = message;
    this.log.info('ready', { ...where(child), after, concurrency, bullmq: bullmqVersion });
    if (message.canRelease) return;
    this.log.warn(
      'this bullmq cannot put jobs back: jobs of a dead child wait for its stalled check (5.41 or later can)',
      where(child),
    );
  }

  uncaught(child: ChildHandle, message: Message<'uncaught'>): void {
    const what = message.phase === 'boot' ? 'app failed at boot' : 'uncaught error';
    const job = message.job && names([message.job]);
    this.log.error(what, { ...where(child), error: message.message, job });
  }

  draining(child: ChildHandle, { busy }: Message<'draining'>): void {
    this.log.info('draining', { ...where(child), busy });
  }

  jobOverdue(child: ChildHandle, job: ActiveJob, ageMs: number, { timeoutMs, action }: JobLimit): void {
    this.log.warn('job past its time', {
      ...where(child),
      job: `${job.queue}/${job.id}`,
      name: job.name.slice(0, MAX_NAMED_CHARACTERS),
      active: `${Math.round(ageMs)}ms`,
      limit: `${timeoutMs}ms`,
      action,
    });
  }

  jobAct(child: ChildHandle, act: 'abort' | 'giveUp', { queue, id, reason }: GivenUpJob): void {
    const fields = { ...where(child), job: `${queue}/${id}`, reason };
    if (act === 'abort') this.log.warn('job told to abort', fields);
    else this.log.warn('job given up: its child drains, is killed, and then it fails', fields);
  }

  drained(child: ChildHandle, { handedBack, error }: Message<'drained'>): void {
    if (error) this.log.error('hand-back failed', { ...where(child), error });
    if (handedBack.length === 0) return;
    this.log.warn('handed back', {
      ...where(child),
      handed_back: handedBack.length,
      jobs: names(handedBack),
    });
  }

  released(child: ChildHandle, { releaseId: owner, jobs, error }: Message<'released'>): void {
    const released = jobs.filter(({ outcome }) => outcome === 'released');
    const quarantined = jobs.filter(({ outcome }) => outcome === 'quarantined');
    if (error) this.releases.failed(where(child), owner, error);
    else this.releases.ended(owner);
    if (released.length > 0) {
      this.log.warn('released', { ...where(child), owner, released: released.length, jobs: names(released) });
    }
    const failed = jobs.filter(({ outcome }) => outcome === 'failed');
    if (failed.length > 0)
      this.log.warn('failed', { ...where(child), owner, failed: failed.length, jobs: names(failed) });
    if (quarantined.length > 0) {
      const count = quarantined.length;
      this.log.error('quarantined', { ...where(child), owner, quarantined: count, jobs: names(quarantined) });
    }
  }

  locksExtended(child: ChildHandle, { owner, extended, unserved, error }: Message<'locksExtended'>): void {
    const failure = error ?? (unserved.length > 0 ? `it does not work for ${unserved.join(' ')}` : null);
    if (failure === null) {
      if (extended > 0)
        this.log.info('extended the locks of a blocked child', { ...where(child), owner, extended });
      return;
    }
    // others are asked at once, again and again
    const once = `locks of ${owner}`;
    if (this.#relayed.has(once)) return;
    if (this.#relayed.size < MAX_RELAYED) this.#relayed.add(once);
    this.log.warn('locks not extended, another try follows', { ...where(child), owner, error: failure });
  }

  stuck(child: ChildHandle, block: Block): void {
    this.log.warn('stuck', {
      ...where(child),
      kind: block.kind,
      blocked: `${Math.round(block.blockedMs)}ms`,
    });
  }

  /** A stop that could not put everything back. */
  left(owner: string, jobs: readonly JobRef[], canSucceed: boolean): void {
    const what = jobs.length > 0 ? 'jobs are left in active' : 'a dead child may have left a job in active';
    const who = canSucceed
      ? "the next master on this host releases what is there, or another host's, or else BullMQ's stalled check"
      : "this bullmq cannot put back, so they wait for BullMQ's stalled check";
    this.log.error(`${what}: ${who}`, { owner, left: jobs.length, jobs: names(jobs) || undefined });
  }

  leasesFreed(child: ChildHandle, { owner, leases, error }: Message<'leasesFreed'>): void {
    if (error)
      this.log.warn('leases of limiters not freed: they end by themselves', {
        ...where(child),
        owner,
        error,
      });
    if (leases > 0) this.log.info('leases freed', { ...where(child), owner, leases });
  }

  kill(child: ChildHandle, reason: KillReason): void {
    this.log.warn('kill', { ...where(child), reason });
  }

  exited(child: ChildHandle, death: Death, restartInMs: number | null): void {
    const { cause, evidence, rssBytes } = death;
    const { code, signal } = child.exit ?? { code: null, signal: null };
    const planned = isPlanned(death);
    // a recycle goes as planned, and is worth the figures that it was for
    const isExplained = !planned || cause === 'recycled';
    this.log[planned ? 'info' : 'warn']('exited', {
      ...where(child),
      cause,
      code: code ?? undefined,
      signal: signal ?? undefined,
      rss: rssBytes === null ? undefined : `${Math.round(rssBytes / 1e6)}MB`,
      ...jobsAtEnd(child),
      restart_in: restartInMs === null ? undefined : `${restartInMs}ms`,
      evidence: isExplained ? evidence.summary.slice(0, MAX_NAMED_CHARACTERS) : undefined,
    });
  }

  /** A child's part of swarm has something to say about the app. It is the same in all of them, at each boot: once will do. */
  relayed(child: ChildHandle, { level, message }: Message<'log'>): void {
    if (this.#relayed.has(message)) return;
    if (this.#relayed.size < MAX_RELAYED) this.#relayed.add(message);
    this.log[level](message, where(child));
  }

  /** @param error in full */
  replacement(
    { slot, reason, detail }: Extract<Effect, { type: 'announceReplacement' }>,
    error: string | null,
  ): void {
    if (error) this.log.error('not replaced', { slot, reason, detail, error });
    else this.log.info('replaced', { slot, reason, detail });
  }

  roll({ generation }: Extract<Effect, { type: 'announceRoll' }>, error: string | null): void {
    if (!error) return this.log.info('rolled', { generation });
    this.log.error('roll stopped: the new code does not boot; the old children go on', { generation, error });
  }

  /** Of a child's watchdog; the same of each. */
  trouble(child: ChildHandle, message: string): void {
    this.relayed(child, { type: 'log', level: 'warn', message: `watchdog: ${message}` });
  }

  watchdogEnded(child: ChildHandle): void {
    this.log.warn(
      'its watchdog thread has ended: it works on, but nobody would see it stuck; swarm recycle gives its slot a new one',
      where(child),
    );
  }

  malformed(child: ChildHandle, why: string): void {
    const kind = `malformed ${child.identity}`;
    this.#repeats.warn(kind, 'malformed message dropped', { ...where(child), why }, MAX_MALFORMED);
  }
}

/** What it held at its end: as it has said itself, or else as of its last beat. The lines of its release say what was found. */
export function jobsAtEnd({ drained, beat, jobs }: Pick<ChildHandle, 'drained' | 'beat' | 'jobs'>): {
  jobs: number;
  jobs_as_of?: string;
} {
  if (drained?.error === null) return { jobs: drained.left?.length ?? 0 };
  const seen = Math.max(beat?.busy ?? 0, jobs.length) - (drained?.handedBack.length ?? 0);
  return { jobs: Math.max(0, seen), jobs_as_of: 'last beat' };
}

/** The fields that every line about a child begins with. */
export function where(child: Pick<ChildHandle, 'slot' | 'generation' | 'pid'>): {
  slot: number;
  generation: number;
  pid: number;
} {
  return { slot: child.slot, generation: child.generation, pid: child.pid };
}

/** As much of them as a line has room for. */
export function names(jobs: readonly Pick<ActiveJob, 'queue' | 'id'>[]): string {
  const text = jobs.map(({ queue, id }) => `${queue}/${id}`).join(' ');
  return text.length > MAX_NAMED_CHARACTERS ? `${text.slice(0, MAX_NAMED_CHARACTERS)}…` : text;
}
