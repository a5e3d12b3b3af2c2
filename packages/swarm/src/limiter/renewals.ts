/**
 * Leases of this process, renewed at a third of their length, many of one limiter in one call. A lease that ended,
 * as far as anybody here knows, or that others were given, is lost: whether a renewal is under way or not.
 */
import type { HeldLease } from './held-lease.js';
import { MAX_IDS, type Operations } from './operations.js';

/** Renewals that are due soon are not worth a call of their own. */
const TOGETHER = 1 / 12;
const RETRY_MS = 1_000;

interface Entry {
  lease: HeldLease;
  dueAtMs: number;
  underWay: boolean;
}

export class Renewals {
  readonly #operations: Operations;
  readonly #entries = new Map<string, Entry>();
  #timer: NodeJS.Timeout | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;

  constructor(operations: Operations) {
    this.#operations = operations;
  }

  get leases(): HeldLease[] {
    return [...this.#entries.values()].map(({ lease }) => lease);
  }

  add(lease: HeldLease): void {
    const dueAtMs = dueAt(lease, performance.now());
    this.#entries.set(lease.id, { lease, dueAtMs, underWay: false });
    this.#wakeAt(dueAtMs);
  }

  remove(lease: HeldLease): void {
    this.#entries.delete(lease.id);
    if (this.#entries.size > 0) return;
    clearTimeout(this.#timer);
    this.#timerAtMs = Number.POSITIVE_INFINITY;
  }

  /** Of a lease that was granted for a moment: resolves to whether it is held; rejects if nobody can say. */
  async confirm(lease: HeldLease): Promise<boolean> {
    const { definition, id, terms } = lease;
    const { isHeld, sentAtMs } = await this.#operations.confirm(definition, id, terms.leaseMs);
    // it ended, but perhaps nobody else has it
    if (!isHeld) return lease.isOver || this.#renew([lease]);
    lease.validUntilMs = sentAtMs + terms.leaseMs;
    const entry = this.#entries.get(id);
    if (entry) entry.dueAtMs = dueAt(lease, performance.now());
    return true;
  }

  /** At most MAX_IDS of one limiter. Resolves to whether they are still held; rejects if nobody can say. */
  async #renew(leases: readonly HeldLease[]): Promise<boolean> {
    const [first] = leases;
    if (!first) return true;
    const ids = leases.map(({ id }) => id);
    const { lost, sentAtMs } = await this.#operations.renew(first.definition, ids);
    for (const lease of leases) {
      if (lost.includes(lease.id)) this.#lose(lease, 'others were given it');
      else lease.validUntilMs = sentAtMs + lease.terms.leaseMs;
    }
    return lost.length === 0;
  }

  #lose(lease: HeldLease, why: string): void {
    this.remove(lease);
    lease.lose(why);
  }

  #wakeAt(atMs: number): void {
    if (atMs >= this.#timerAtMs) return;
    clearTimeout(this.#timer);
    this.#timerAtMs = atMs;
    // the work for which a lease is held keeps the process alive, or nothing does
    this.#timer = setTimeout(() => this.#tick(), Math.max(1, Math.ceil(atMs - performance.now()))).unref();
  }

  #tick(): void {
    this.#timerAtMs = Number.POSITIVE_INFINITY;
    const nowMs = performance.now();
    const due = new Map<string, Entry[]>();
    let nextMs = Number.POSITIVE_INFINITY;
    for (const entry of this.#entries.values()) {
      const { lease } = entry;
      if (nowMs >= lease.validUntilMs) {
        this.#lose(lease, entry.underWay ? 'Redis did not answer' : 'it was not renewed in time');
        continue;
      }
      nextMs = Math.min(nextMs, lease.validUntilMs);
      if (!entry.underWay && entry.dueAtMs - lease.terms.leaseMs * TOGETHER <= nowMs) {
        const { name } = lease.definition;
        const entries = due.get(name);
        if (entries) entries.push(entry);
        else due.set(name, [entry]);
      } else if (!entry.underWay) {
        nextMs = Math.min(nextMs, entry.dueAtMs);
      }
    }
    for (const entries of due.values()) {
      for (let at = 0; at < entries.length; at += MAX_IDS)
        void this.#renewDue(entries.slice(at, at + MAX_IDS));
    }
    if (nextMs !== Number.POSITIVE_INFINITY) this.#wakeAt(Math.max(nextMs, nowMs + 1));
  }

  async #renewDue(entries: readonly Entry[]): Promise<void> {
    for (const entry of entries) entry.underWay = true;
    let isRenewed = false;
    try {
      await this.#renew(entries.map(({ lease }) => lease));
      isRenewed = true;
    } catch {
      // tried again until the lease is over
    }
    const nowMs = performance.now();
    for (const entry of entries) {
      if (this.#entries.get(entry.lease.id) !== entry) continue;
      const { lease } = entry;
      if (nowMs >= lease.validUntilMs) {
        this.#lose(lease, 'Redis did not answer');
        continue;
      }
      entry.underWay = false;
      entry.dueAtMs = isRenewed ? dueAt(lease, nowMs) : nowMs + Math.min(RETRY_MS, lease.terms.leaseMs / 3);
      this.#wakeAt(Math.min(entry.dueAtMs, lease.validUntilMs));
    }
  }
}

/** Less is left of one that was granted for a moment, or whose renewal was answered late. */
function dueAt({ validUntilMs, terms }: HeldLease, nowMs: number): number {
  return Math.min(nowMs + terms.leaseMs / 3, (nowMs + validUntilMs) / 2);
}
