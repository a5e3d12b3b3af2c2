/** What a master says about its children: one line an event, one shape for all of them. */
import type { Logger } from '../log.js';
import type { ChildHandle } from '../process/child-handle.js';
import { exitCause } from '../process/exit-cause.js';
import type { ActiveJob, ChildMessage } from '../protocol.js';
import type { KillReason } from '../supervisor/state.js';

type Message<T extends ChildMessage['type']> = Extract<ChildMessage, { type: T }>;

/** A log line names jobs only as far as it stays a line. */
const MAX_NAMED_CHARACTERS = 400;

export class Narrator {
  constructor(private readonly log: Logger) {}

  spawned(child: ChildHandle): void {
    this.log.info('spawned', where(child));
  }

  ready(child: ChildHandle, message: Message<'ready'>): void {
    const after = `${Date.now() - child.startedAtMs}ms`;
    const { concurrency, bullmqVersion } = message;
    this.log.info('ready', { ...where(child), after, concurrency, bullmq: bullmqVersion });
    if (message.canRelease) return;
    this.log.warn(
      'this bullmq cannot put jobs back: jobs of a dead child wait for its stalled check (5.56 or later can)',
      where(child),
    );
  }

  uncaught(child: ChildHandle, message: Message<'uncaught'>): void {
    const what = message.phase === 'boot' ? 'app failed at boot' : 'uncaught error';
    this.log.error(what, { ...where(child), error: message.message });
  }

  draining(child: ChildHandle, { busy }: Message<'draining'>): void {
    this.log.info('draining', { ...where(child), busy });
  }

  drained(child: ChildHandle, { handedBack, error }: Message<'drained'>): void {
    if (error) this.log.error('hand-back failed', { ...where(child), error });
    if (handedBack.length === 0) return;
    this.log.warn('handed back', { ...where(child), handed_back: handedBack.length, jobs: names(handedBack) });
  }

  released(child: ChildHandle, { releaseId: owner, jobs, unserved, error }: Message<'released'>): void {
    const released = jobs.filter(({ outcome }) => outcome === 'released');
    if (error) this.log.warn('release failed, another try follows', { ...where(child), owner, error });
    if (unserved.length > 0) {
      const queues = unserved.join(' ');
      const message = 'cannot release: no child works for these queues; their jobs wait for the stalled check';
      this.log.warn(message, { ...where(child), owner, queues });
    }
    if (released.length > 0) {
      this.log.warn('released', { ...where(child), owner, released: released.length, jobs: names(released) });
    }
  }

  kill(child: ChildHandle, reason: KillReason): void {
    this.log.warn('kill', { ...where(child), reason });
  }

  exited(child: ChildHandle, end: { killedFor: KillReason | null; restartInMs: number | null; rssBytes: number | null }): void {
    if (!child.exit) return;
    const { code, signal } = child.exit;
    const cause = exitCause({
      exit: child.exit,
      killedFor: end.killedFor,
      uncaught: child.uncaught !== null,
      drained: child.drained !== null,
    });
    this.log[cause === 'stopped' ? 'info' : 'warn']('exited', {
      ...where(child),
      cause,
      code: code ?? undefined,
      signal: signal ?? undefined,
      rss: end.rssBytes === null ? undefined : `${Math.round(end.rssBytes / 1e6)}MB`,
      jobs: child.drained ? 0 : (child.beat?.busy ?? 0),
      restart_in: end.restartInMs === null ? undefined : `${end.restartInMs}ms`,
    });
  }

  /** The app says something about itself through the child's part of swarm. */
  relayed(child: ChildHandle, { level, message }: Message<'log'>): void {
    this.log[level](message, where(child));
  }

  malformed(child: ChildHandle, why: string): void {
    this.log.warn('malformed message dropped', { ...where(child), why });
  }
}

/** The fields that every line about a child begins with. */
export function where(child: ChildHandle): { slot: number; generation: number; pid: number } {
  return { slot: child.slot, generation: child.generation, pid: child.pid };
}

function names(jobs: readonly Pick<ActiveJob, 'queue' | 'id'>[]): string {
  const text = jobs.map(({ queue, id }) => `${queue}/${id}`).join(' ');
  return text.length > MAX_NAMED_CHARACTERS ? `${text.slice(0, MAX_NAMED_CHARACTERS)}…` : text;
}
