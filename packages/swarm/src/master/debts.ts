/**
 * Jobs of dead children that are not all accounted for: this master's own, and those that predecessors
 * on this host left behind. What is still owed when the master leaves stays in the registry for the next.
 */
import { isSameProcess } from '../process/proc.js';
import type { DeathNotice, Holding, JobRef } from '../protocol.js';
import type { Orphan } from '../recovery/predecessors.js';
import type { Owed } from '../registry/schema.js';

export class Debts {
  readonly #owed = new Map<string, Holding[]>();
  /** By owner, until a first sweep was carried out: what is found after it came too late to have run. */
  readonly #deaths = new Map<string, DeathNotice>();
  /** Owners that used limiters, and may have held leases. */
  readonly #usedLimits = new Set<string>();
  #orphans: readonly Orphan[];
  /** Predecessors of whose jobs some are in queues that nobody here works for. */
  readonly #partial = new Set<string>();

  constructor(orphans: readonly Orphan[]) {
    this.#orphans = orphans;
  }

  add(owner: string, holdings: Holding[], usedLimits = false): void {
    this.#owed.set(owner, holdings);
    if (usedLimits) this.#usedLimits.add(owner);
  }

  holdingsOf(owner: string): Holding[] {
    return this.#owed.get(owner) ?? [];
  }

  /** As far as they were reported. */
  jobsOf(owner: string): JobRef[] {
    return this.holdingsOf(owner).flatMap(({ queue, jobIds }) => jobIds.map((id) => ({ queue, id })));
  }

  usedLimits(owner: string): boolean {
    return this.#usedLimits.has(owner);
  }

  /** Whether it takes care of what this master left behind. */
  concerns(master: string): boolean {
    return this.#orphans.some((orphan) => orphan.master === master);
  }

  /** How the owner of debts died. */
  explain(death: DeathNotice): void {
    if (this.#owed.has(death.id)) this.#deaths.set(death.id, death);
  }

  deathOf(owner: string): DeathNotice | null {
    return this.#deaths.get(owner) ?? null;
  }

  /** @param left queues that were not swept @param moved how many jobs were put back */
  swept(owner: string, left: readonly string[], moved: number): void {
    const death = this.#deaths.get(owner);
    if (!death) return;
    if (left.length === 0) this.#deaths.delete(owner);
    else if (moved > 0) this.#deaths.set(owner, { ...death, isPartlySwept: true });
  }

  get list(): Owed[] {
    return [...this.#owed].map(([owner, holdings]) => ({ owner, holdings }));
  }

  /** Orphans whose process is gone since the last call: their jobs are owed now. */
  takeGone(): Orphan[] {
    const gone = this.#orphans.filter((orphan) => {
      if (this.#owed.has(orphan.owner)) return false;
      return orphan.gone || !isSameProcess(orphan.pid, orphan.pidStartTicks);
    });
    for (const { owner, holdings } of gone) this.#owed.set(owner, holdings);
    return gone;
  }

  /** @returns the predecessor that owes nothing any more by this, or nothing but what others have to do; or null */
  settle(owner: string, isPartial: boolean): { master: string; isPartial: boolean } | null {
    this.#owed.delete(owner);
    this.#deaths.delete(owner);
    this.#usedLimits.delete(owner);
    const orphan = this.#orphans.find((other) => other.owner === owner);
    if (!orphan) return null;
    const { master } = orphan;
    if (isPartial) this.#partial.add(master);
    this.#orphans = this.#orphans.filter((other) => other !== orphan);
    return this.concerns(master) ? null : { master, isPartial: this.#partial.has(master) };
  }
}
