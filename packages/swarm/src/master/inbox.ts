/** Every message of a child, and who is to have it. What changes what is done becomes an event of the supervisor's. */
import type { ChildHandle } from '../process/child-handle.js';
import type { ChildMessage } from '../protocol.js';
import type { Reporter } from '../registry/reporter.js';
import type { SupervisorEvent } from '../supervisor/events.js';
import type { BadUsage } from './bad-usage.js';
import type { Captures } from './captures.js';
import type { Deaths } from './deaths.js';
import type { Debts } from './debts.js';
import type { IdleChildren } from './idle-children.js';
import type { JobLedger } from './job-ledger.js';
import type { LimitWatch } from './limit-watch.js';
import type { LostHosts } from './lost-hosts.js';
import type { Narrator } from './narrator.js';
import type { Onlookers } from './onlookers.js';
import type { UsualDurations } from './usual-durations.js';

export interface InboxParts {
  narrator: Narrator;
  onlookers: Onlookers;
  reporter: Reporter;
  debts: Debts;
  deaths: Deaths;
  limits: LimitWatch;
  lostHosts: LostHosts;
  idleChildren: IdleChildren;
  captures: Captures;
  jobLedger: JobLedger;
  usualDurations: UsualDurations;
  badUsage: BadUsage;
  ask: (event: SupervisorEvent) => void;
}

export class Inbox {
  readonly #parts: InboxParts;

  constructor(parts: InboxParts) {
    this.#parts = parts;
  }

  take(child: ChildHandle, message: ChildMessage): void {
    const { narrator, lostHosts, idleChildren, captures, reporter, deaths, ask } = this.#parts;
    const { slot, identity } = child;
    this.#parts.onlookers.heard(slot, child.group, message);
    switch (message.type) {
      case 'ready':
        this.#parts.badUsage.ready(child);
        narrator.ready(child, message);
        ask({ type: 'childReady', slot, identity, canRelease: message.canRelease });
        void this.#parts.limits.ready(child);
        return;
      case 'releasing':
        return deaths.releasing(message);
      case 'released':
        return this.#released(child, message);
      case 'leasesFreed':
        return narrator.leasesFreed(child, message);
      case 'swept':
        return lostHosts.onSwept(child, message);
      case 'notConsuming':
        return idleChildren.hear(child, message);
      case 'queueSeen':
        return idleChildren.onSeen(message);
      case 'locksExtended':
        return this.#locksExtended(child, message);
      case 'uncaught':
        narrator.uncaught(child, message);
        if (message.isUsage) this.#parts.badUsage.refused(child, message.message);
        return;
      case 'draining':
        return narrator.draining(child, message);
      case 'drained':
        narrator.drained(child, message);
        if (message.left?.length) ask({ type: 'killRequested', identity, reason: 'job-timeout' });
        return;
      case 'log':
        return narrator.relayed(child, message);
      case 'workerStarted':
        // it may take a job in the next moment: its queue and tokens are what a successor finds that job by
        return reporter.changed('now');
      case 'workerEnded':
        return reporter.changed();
      case 'jobMemory':
        return this.#parts.jobLedger.add(message.kinds);
      case 'jobDurations':
        return this.#parts.usualDurations.add(message.kinds);
      case 'captureBegun':
      case 'captured':
        return captures.hear(child, message);
      case 'jobTimeouts':
      case 'waiting':
      case 'bootTrouble':
      case 'limitsUsed':
      case 'addonLoaded':
      case 'beat':
        return;
    }
  }

  /** The end of a release, or of a try. */
  #released(child: ChildHandle, message: Extract<ChildMessage, { type: 'released' }>): void {
    const { narrator, debts, deaths, ask } = this.#parts;
    const { releaseId, error, unserved, jobs } = message;
    narrator.released(child, message);
    if (error === null) debts.swept(releaseId, unserved, jobs.length);
    deaths.released(message);
    ask({ type: 'releaseAnswered', releaseId, by: child.identity, error, unserved });
  }

  #locksExtended(child: ChildHandle, message: Extract<ChildMessage, { type: 'locksExtended' }>): void {
    const { owner, unserved } = message;
    this.#parts.narrator.locksExtended(child, message);
    const error = message.error ?? (unserved.length > 0 ? 'it does not work for these queues' : null);
    this.#parts.ask({ type: 'locksExtended', owner, by: child.identity, error });
  }
}
