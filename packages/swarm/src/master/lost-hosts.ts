/** Carries out what recovery/lost-hosts.ts decides about stale masters. */
import type { Logger } from '../log.js';
import type { ChildHandle } from '../process/child-handle.js';
import { isSameProcess } from '../process/proc.js';
import type { ChildMessage, LostHolding, MasterMessage } from '../protocol.js';
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
import type { MasterRecord } from '../registry/schema.js';
import { names, where } from './narrator.js';

/** Only while there is a stale master. */
const TICK_MS = 500;
/** Entries that say nothing to us are read again no more often than that. */
const READ_EVERY_MS = 5_000;

export interface LostHostsParts {
  rescue: Rescue;
  self: HostPlace;
  log: Logger;
  /** Children that could release something now. */
  helpers: () => readonly Helper[];
  send: (child: string, message: MasterMessage) => void;
  /** A predecessor on this host, which is taken care of already. */
  isKnown: (master: string) => boolean;
}

export class LostHosts {
  readonly #parts: LostHostsParts;
  #state: LostState = NO_LOST_HOSTS;
  /** What was asked for, for the log: also a late answer has something to say. */
  readonly #sweeps = new Map<string, { host: string; queue: string }>();
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
    const { host: owner, queue } = sweep;
    const { log } = this.#parts;
    if (released.length > 0) {
      const jobs = names(released.map((id) => ({ queue, id })));
      log.warn('released', { ...where(child), owner, released: released.length, jobs });
    }
    if (error) log.warn('release failed, another try follows', { ...where(child), owner, error });
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
        this.#sweeps.set(sweepId, { host, queue: holding.queue });
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
        return log.info('a lost master is accounted for', { master: host, released: effect.released });
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
