/**
 * The end of each child: what it owes, why it ended, who is told of it, and what is said. The order matters: the debt
 * and the judgement are there before the supervisor hears of the exit, because what it decides is carried out at once.
 */
import type { Config } from '../config.js';
import type { Logger } from '../log.js';
import { type ChildHandle, type Exit, isDrained } from '../process/child-handle.js';
import { holdingsOf } from '../recovery/holdings.js';
import type { LastDeath } from '../registry/schema.js';
import { maskSecrets } from '../secrets.js';
import type { Effect, SupervisorEvent } from '../supervisor/events.js';
import type { KillReason } from '../supervisor/state.js';
import { bootError, neverWorked, whyEnded } from './boot-error.js';
import { because } from './command-center.js';
import { noticeOf } from './death-notice.js';
import type { Death, Deaths } from './deaths.js';
import type { Debts } from './debts.js';
import type { Dumps } from './dumps.js';
import type { Fleet } from './fleet.js';
import { InheritedDeath, inheritedCause } from './inherited-death.js';
import type { JobTimeouts } from './job-timeouts.js';
import type { LimitWatch } from './limit-watch.js';
import type { Narrator } from './narrator.js';
import type { Onlookers } from './onlookers.js';

type EffectOf<T extends Effect['type']> = Extract<Effect, { type: T }>;

export interface ExitParts {
  config: Config;
  log: Logger;
  narrator: Narrator;
  onlookers: Onlookers;
  fleet: Fleet;
  debts: Debts;
  deaths: Deaths;
  dumps: Pick<Dumps, 'latest'>;
  jobTimeouts: Pick<JobTimeouts, 'dumpOf' | 'givenUpBy'>;
  limits: Pick<LimitWatch, 'excessOf'>;
  ask: (event: SupervisorEvent) => void;
  /** Everybody who keeps something about it. */
  forget: (child: ChildHandle) => void;
  /** Takes a predecessor that owes nothing any more out of the registry. */
  removeMaster: (master: string) => Promise<void>;
}

export class Exits {
  readonly #parts: ExitParts;
  /** By identity: those whose end is to be announced. */
  readonly #judged = new Map<string, Death>();
  #appError: string | null = null;

  constructor(parts: ExitParts) {
    this.#parts = parts;
  }

  /** The app's own words about why it does not boot. */
  get appError(): string | null {
    return this.#appError;
  }

  onExit(child: ChildHandle, { code, signal }: Exit): void {
    const { fleet, debts, onlookers, ask, forget } = this.#parts;
    const { slot, identity, pid } = child;
    const drained = isDrained(child);
    const holdings = holdingsOf(child.workers, child.jobs);
    // of a bullmq that cannot put jobs back, the stalled check is all there is
    const isHopeless = child.readyAtMs !== null && !child.canRelease;
    const held = holdings.length > 0 && !isHopeless;
    const owes = held && !drained;
    if (owes) debts.add(identity, holdings, child.usesLimits);
    const judged = this.#judge(child, owes);
    const death: LastDeath = { atMs: Date.now(), identity, pid, code, signal, cause: judged.cause };
    const record = fleet.bury(child, death);
    if (record) onlookers.died({ child: record, death: judged, code, signal });
    const strands = isHopeless && child.jobs.length > 0;
    const ending = { drained, held, isHopeless: strands, neverWorked: neverWorked(child) };
    ask({ type: 'childExited', slot, identity, ...ending });
    this.#judged.delete(identity);
    fleet.remove(child);
    forget(child);
  }

  announce({ identity, killedFor, leavesFor, restartInMs }: EffectOf<'announceExit'>): void {
    const { fleet, narrator, config } = this.#parts;
    const child = fleet.get(identity);
    const death = this.#judged.get(identity);
    if (!child || !death) return;
    narrator.exited(child, death, restartInMs);
    if (child.readyAtMs === null && leavesFor === null) this.#appError = bootError(child, killedFor, config);
  }

  announceLeft({ owner, canSucceed }: EffectOf<'announceLeft'>): void {
    const { debts, fleet, narrator } = this.#parts;
    const owed = debts.jobsOf(owner);
    const jobs = owed.length > 0 ? owed : (fleet.get(owner)?.jobs ?? []);
    narrator.left(owner, jobs, canSucceed);
  }

  /** In one line, for whoever asked for a replacement. */
  whyEnded(identity: string, killedFor: KillReason | null): string | null {
    const { fleet, config } = this.#parts;
    const child = fleet.get(identity);
    return child ? whyEnded(child, killedFor, config) : null;
  }

  /**
   * Why a replacement or a roll was given up, as far as a child has told; null: it was not.
   * @param all effects of the decision
   */
  because({ error }: { error: string | null }, all: readonly Effect[]): string | null {
    if (error === null) return null;
    // for the registry too: an app's own words may have a URL in them
    return maskSecrets(because(error, all, (identity, killedFor) => this.whyEnded(identity, killedFor)));
  }

  /** Whoever a predecessor has left, and is gone by now. */
  inherit(): void {
    const { debts, deaths, ask } = this.#parts;
    for (const { owner, left } of debts.takeGone()) {
      const cause = left && inheritedCause(left.master, owner, 'master-died');
      if (cause) deaths.inherit(new InheritedDeath(left.master, left.child, cause), false);
      ask({ type: 'predecessorFound', owner });
    }
  }

  /** All that it held is accounted for; `isPartial`: as far as anybody here works for its queues. */
  settle(owner: string, isPartial: boolean): void {
    const { debts, narrator, log, removeMaster } = this.#parts;
    narrator.releases.ended(owner);
    const predecessor = debts.settle(owner, isPartial);
    if (!predecessor) return;
    const { master } = predecessor;
    if (predecessor.isPartial)
      return log.info('a predecessor is left to masters that work for its queues', { master });
    log.info('a predecessor is accounted for', { master });
    removeMaster(master).catch(() => {
      // it expires by itself
    });
  }

  #judge(child: ChildHandle, owes: boolean): Death {
    const { fleet, debts, deaths, dumps, jobTimeouts, limits } = this.#parts;
    const { identity, pid } = child;
    const { killedFor = null, leavesFor = null } = fleet.told(child) ?? {};
    const jobDump = killedFor === 'job-timeout' ? jobTimeouts.dumpOf(identity) : null;
    const dump = dumps.latest(identity) ?? jobDump;
    const excess = limits.excessOf(identity);
    const sample = fleet.samples.get(pid);
    const judged = deaths.died(child, { killedFor, leavesFor }, { sample, owes, dump, excess });
    this.#judged.set(identity, judged);
    debts.explain(noticeOf(child, judged.cause, Date.now(), dump, jobTimeouts.givenUpBy(identity)));
    return judged;
  }
}
