/** Carries out what recovery/lost-hosts.ts decides about stale masters. */
import type { InheritedCause } from '../death.js';
import type { Logger } from '../log.js';
import type { ChildHandle } from '../process/child-handle.js';
import { isSameProcess } from '../process/proc.js';
import type { ChildMessage, JobRef, LostHolding, MasterMessage, ReleasedJob } from '../protocol.js';
import { lostHoldingsOf } from '../recovery/lost-holdings.js';
import {
  CLAIM_MS,
  decideLost,
  type Helper,
  type LostEffect,
  type LostEvent,
  type LostState,
  NO_LOST_HOSTS,
  type StaleMaster,
  type SweepNote,
} from '../recovery/lost-hosts.js';
import { type HostPlace, isSamePlace } from '../registry/predecessors.js';
import type { Rescue } from '../registry/rescue.js';
import type { ChildRecord, MasterRecord } from '../registry/schema.js';
import { InheritedDeath, inheritedCause } from './inherited-death.js';
import { names, where } from './narrator.js';
import type { ReleaseTrouble } from './release-trouble.js';

/** Only while there is a stale master. */
const TICK_MS = 500;
/** Entries that say nothing to us are read again no more often than that. */
const READ_EVERY_MS = 5_000;

export interface LostHostsParts {
  rescue: Rescue;
  self: HostPlace;
  log: Logger;
  trouble: ReleaseTrouble;
  /** Children that could release something now. */
  helpers: () => readonly Helper[];
  send: (child: string, message: MasterMessage) => void;
  /** A predecessor on this host, which is taken care of already. */
  isKnown: (master: string) => boolean;
  /** A child of a lost master, when what it held is accounted for. */
  onDeath: (death: InheritedDeath) => void;
}

/** What is known of a lost master, for the records of its children. */
interface LostMaster {
  record: MasterRecord;
  cause: InheritedCause;
  released: ReleasedJob[];
  /** Queues that a child of ours has looked at. */
  seen: Set<string>;
}

export class LostHosts {
  readonly #parts: LostHostsParts;
  #state: LostState = NO_LOST_HOSTS;
  /** What was asked for, for the log: also a late answer has something to say. */
  readonly #sweeps = new Map<string, { host: string; queue: string; takes: boolean }>();
  readonly #lostMasters = new Map<string, LostMaster>();
  #ticker: NodeJS.Timeout | undefined;
  #reading = false;
  #readAtMs = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(parts: LostHostsParts) {
    this.#parts = parts;
  }

  /** Each beat of ours says who is stale. */
  onBeat(stale: readonly string[]): void {
    const known = new Set(this.#state.hosts.map(({ identity }) => identity));
    this.#feed({ type: 'looked', stale, found: [] });
    const unknown = stale.filter((identity) => !known.has(identity) && !this.#parts.isKnown(identity));
    const isSoon = performance.now() - this.#readAtMs < READ_EVERY_MS;
    if (unknown.length > 0 && !this.#reading && !isSoon) void this.#read(stale, unknown);
  }

  onSwept(child: ChildHandle, message: Extract<ChildMessage, { type: 'swept' }>): void {
    const { sweepId, served, released, waiting, error } = message;
    const sweep = this.#sweeps.get(sweepId);
    if (!sweep) return;
    const { host: owner, queue, takes } = sweep;
    if (takes && served && !error) this.#note(owner, queue, released);
    const { log } = this.#parts;
    if (released.length > 0) {
      const jobs = names(released.map((id) => ({ queue, id })));
      log.warn('released', { ...where(child), owner, released: released.length, jobs });
    }
    if (error) this.#parts.trouble.failed(where(child), owner, error);
    else this.#parts.trouble.ended(owner);
    const by = child.identity;
    this.#feed({ type: 'swept', sweepId, by, served, released: released.length, waiting, error });
  }

  onChildGone(identity: string): void {
    this.#feed({ type: 'helperGone', identity });
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#ticker);
  }

  async #read(stale: readonly string[], unknown: readonly string[]): Promise<void> {
    this.#reading = true;
    try {
      const masters = await this.#parts.rescue.masters();
      const found = masters
        .filter(({ identity }) => unknown.includes(identity))
        .flatMap((master) => this.#lost(master));
      this.#readAtMs = performance.now();
      this.#feed({ type: 'looked', stale, found });
    } catch {
      // the next beat says what is wrong with Redis, or lists it again
    } finally {
      this.#reading = false;
    }
  }

  /** Nothing, if it lives here and is only kept from its beats: its children are its own affair. */
  #lost(master: MasterRecord): StaleMaster[] {
    const isHere = isSamePlace(master.info, this.#parts.self);
    if (isHere && !isGone(master.info)) return [];
    const holdings = lostHoldingsOf(master, (child) => isHere && isGone(child));
    const cause = isHere ? 'master-died' : 'host-lost';
    this.#lostMasters.set(master.identity, { record: master, cause, released: [], seen: new Set() });
    return [{ identity: master.identity, holdings }];
  }

  #feed(event: LostEvent): void {
    if (this.#closed) return;
    const moment = { nowMs: performance.now(), helpers: this.#parts.helpers() };
    const { state, effects } = decideLost(this.#state, event, moment);
    this.#state = state;
    if (state.hosts.length === 0) {
      clearInterval(this.#ticker);
      this.#ticker = undefined;
      this.#sweeps.clear();
      this.#lostMasters.clear();
    } else {
      this.#ticker ??= setInterval(() => this.#feed({ type: 'tick' }), TICK_MS);
    }
    for (const effect of effects) this.#carryOut(effect);
  }

  #carryOut(effect: LostEffect): void {
    const { log, rescue, send } = this.#parts;
    const { host } = effect;
    switch (effect.type) {
      case 'claim':
        void this.#claim(host, effect.note);
        return;
      case 'sweep':
      case 'look': {
        const { sweepId, by, holding } = effect;
        this.#sweeps.set(sweepId, { host, queue: holding.queue, takes: effect.type === 'sweep' });
        return send(by, {
          type: 'sweep',
          sweepId,
          holding: effect.type === 'look' ? toLookAt(holding) : holding,
        });
      }
      case 'forget':
        rescue.forget(host).catch(() => {
          // it is tried again
        });
        return;
      case 'announceLost':
        return log.warn('a master is lost; its jobs are released once their locks miss a renewal', {
          master: host,
        });
      case 'announceBack':
        return log.warn('a master that was lost is back, and left alone', { master: host });
      case 'announceAccounted':
        log.info('a lost master is accounted for', { master: host, released: effect.released });
        return this.#recordDeaths(host);
    }
  }

  #note(host: string, queue: string, ids: readonly string[]): void {
    const lost = this.#lostMasters.get(host);
    if (!lost) return;
    lost.seen.add(queue);
    const outcome = 'released';
    lost.released.push(...ids.map((id) => ({ queue, id, name: '', outcome, blame: null }) as const));
  }

  #recordDeaths(host: string): void {
    const lost = this.#lostMasters.get(host);
    if (!lost) return;
    const { record, cause, released, seen } = lost;
    for (const child of record.children) {
      const own = inheritedCause(record, child.identity, cause);
      if (!own) continue;
      const death = new InheritedDeath(record, child, own);
      const queues = child.workers.map(({ queue }) => queue);
      const unseen = queues.filter((queue) => !seen.has(queue));
      death.jobs.released(released.filter(isOf(child, record.children)), unseen);
      this.#parts.onDeath(death);
    }
  }

  async #claim(host: string, note: SweepNote | null): Promise<void> {
    try {
      const claim = await this.#parts.rescue.claim(host, CLAIM_MS, note);
      const { outcome } = claim;
      this.#feed({ type: 'claimAnswered', host, outcome, note: readNote(claim.note) });
    } catch {
      this.#feed({ type: 'claimAnswered', host, outcome: 'failed', note: readNote(null) });
    }
  }
}

/** Jobs that it has reported, and others of queues that nobody else there works for: a sweep does not say whose they were. */
function isOf(child: ChildRecord, all: readonly ChildRecord[]): (job: JobRef) => boolean {
  const serves = (other: ChildRecord, queue: string) =>
    other.workers.some((worker) => worker.queue === queue);
  const lists = (other: ChildRecord, { queue, id }: JobRef) =>
    other.jobs.some((job) => job.queue === queue && job.id === id);
  return (job) => {
    if (all.some((other) => lists(other, job))) return lists(child, job);
    return serves(child, job.queue) && all.filter((other) => serves(other, job.queue)).length === 1;
  };
}

function toLookAt(holding: LostHolding): LostHolding {
  return {
    ...holding,
    tokens: holding.tokens.map(({ prefix }) => ({ prefix, takeBelowMs: null })),
    jobIds: [],
  };
}

function isGone({ pid, pidStartTicks }: { pid: number; pidStartTicks: number | null }): boolean {
  return !isSameProcess(pid, pidStartTicks);
}

/** Anybody may write to a Redis: what is malformed is as good as nothing. */
function readNote(raw: unknown): SweepNote {
  const { done, waiting } = (raw ?? {}) as { done?: unknown; waiting?: unknown };
  const lists = typeof waiting === 'object' && waiting !== null ? Object.entries(waiting) : [];
  return {
    done: strings(done),
    waiting: Object.fromEntries(lists.map(([key, ids]) => [key, strings(ids)])),
  };
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}
