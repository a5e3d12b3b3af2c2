/**
 * What limiters are to do, in plain memory: one clock, one queue, no Redis. Whatever happens is told with the
 * time at which it happened, and answered by who is let in by it.
 */

export interface Request {
  id: string;
  leaseMs: number;
  waitMs: number;
  cost: number;
}

/** What a kind of limiter allows. */
export interface Rule {
  /** Forgets what time has ended. */
  pass(nowMs: number): void;
  hasRoom(nowMs: number, cost: number): boolean;
  take(nowMs: number, request: Request): void;
  /** Of a lease, whether there was one. */
  giveBack(nowMs: number, request: Request, takenAtMs: number): boolean;
  used(nowMs: number): number;
}

interface Waiting extends Request {
  cameAtMs: number;
}

const ALIVE_MS = 1_000;
const GRANT_MS = 2_000;

export class LimiterModel {
  queue: Waiting[] = [];
  /** Who was let in after a wait, in order. */
  readonly letIn: string[] = [];
  /** By owner: when it last asked, or gave back. */
  readonly #heardAtMs = new Map<string, number>();

  constructor(readonly rule: Rule) {}

  heardOf(owner: string, nowMs: number): void {
    this.#heardAtMs.set(owner, nowMs);
  }

  /** @returns whether it is let in at once, has to wait, or is refused */
  acquire(nowMs: number, request: Request, mayWait: boolean): 'granted' | 'waits' | 'refused' {
    this.serve(nowMs);
    if (this.queue.length === 0 && this.rule.hasRoom(nowMs, request.cost)) {
      this.rule.take(nowMs, request);
      return 'granted';
    }
    if (!mayWait) return 'refused';
    this.queue.push({ ...request, cameAtMs: nowMs });
    return 'waits';
  }

  /** In order, as long as there is room. */
  serve(nowMs: number, most = Number.POSITIVE_INFINITY): void {
    this.rule.pass(nowMs);
    for (let served = 0; served < most; ) {
      const [first] = this.queue;
      if (!first || !this.rule.hasRoom(nowMs, first.cost)) return;
      this.queue.shift();
      if (nowMs - first.cameAtMs > first.waitMs) continue;
      this.letInFirst(nowMs, first);
      served += 1;
    }
  }

  /** Who was not heard of for a while has to say that it is there. */
  letInFirst(nowMs: number, first: Request): void {
    const heardAtMs = this.#heardAtMs.get(first.id.split('/')[0] ?? '') ?? Number.NEGATIVE_INFINITY;
    const leaseMs = nowMs - heardAtMs < ALIVE_MS ? first.leaseMs : Math.min(first.leaseMs, GRANT_MS);
    this.rule.take(nowMs, { ...first, leaseMs });
    this.letIn.push(first.id);
  }

  leave(nowMs: number, id: string): boolean {
    const before = this.queue.length;
    this.queue = this.queue.filter((waiting) => waiting.id !== id);
    const left = this.queue.length < before;
    this.serve(nowMs);
    return left;
  }

  cancel(nowMs: number, request: Request, takenAtMs: number): void {
    this.rule.giveBack(nowMs, request, takenAtMs);
    this.serve(nowMs);
  }
}

export class ConcurrentRule implements Rule {
  /** id → when the lease ends. Those that have ended are there until somebody looks. */
  readonly leases = new Map<string, number>();

  constructor(readonly limit: number) {}

  pass(nowMs: number): void {
    for (const [id, endsAtMs] of this.leases) if (endsAtMs <= nowMs) this.leases.delete(id);
  }

  hasRoom(): boolean {
    return this.leases.size < this.limit;
  }

  take(nowMs: number, { id, leaseMs }: Request): void {
    this.leases.set(id, nowMs + leaseMs);
  }

  giveBack(_: number, { id }: Request): boolean {
    return this.leases.delete(id);
  }

  renew(nowMs: number, { id, leaseMs }: Request): boolean {
    if (this.leases.has(id)) {
      this.leases.set(id, nowMs + leaseMs);
      return true;
    }
    this.pass(nowMs);
    if (!this.hasRoom()) return false;
    this.leases.set(id, nowMs + leaseMs);
    return true;
  }

  used(nowMs: number): number {
    return [...this.leases.values()].filter((endsAtMs) => endsAtMs >= nowMs).length;
  }
}

export class BucketRule implements Rule {
  #period = Number.NaN;
  #count = 0;

  constructor(
    readonly limit: number,
    readonly periodMs: number,
  ) {}

  pass(nowMs: number): void {
    const period = Math.floor(nowMs / this.periodMs);
    if (period === this.#period) return;
    this.#period = period;
    this.#count = 0;
  }

  hasRoom(): boolean {
    return this.#count < this.limit;
  }

  take(): void {
    this.#count += 1;
  }

  giveBack(nowMs: number, _: Request, takenAtMs: number): boolean {
    this.pass(nowMs);
    if (Math.floor(takenAtMs / this.periodMs) === this.#period) this.#count = Math.max(0, this.#count - 1);
    return true;
  }

  used(nowMs: number): number {
    this.pass(nowMs);
    return this.#count;
  }
}

export class WindowRule implements Rule {
  #uses: { id: string; atMs: number }[] = [];

  constructor(
    readonly limit: number,
    readonly windowMs: number,
  ) {}

  pass(nowMs: number): void {
    this.#uses = this.#uses.filter(({ atMs }) => atMs > round(nowMs - this.windowMs));
  }

  hasRoom(): boolean {
    return this.#uses.length < this.limit;
  }

  take(nowMs: number, { id }: Request): void {
    this.#uses.push({ id, atMs: nowMs });
  }

  giveBack(_: number, { id }: Request): boolean {
    const before = this.#uses.length;
    this.#uses = this.#uses.filter((use) => use.id !== id);
    return this.#uses.length < before;
  }

  used(nowMs: number): number {
    return this.#uses.filter(({ atMs }) => atMs > round(nowMs - this.windowMs)).length;
  }
}

/** Both that leak and those that fill up: a level that moves by itself. */
export class LevelRule implements Rule {
  #used = 0;
  #atMs = 0;

  constructor(
    readonly most: number,
    readonly perMs: number,
    /** Whether more can be used than there is. */
    readonly mayOwe: boolean,
  ) {}

  pass(nowMs: number): void {
    this.#used = this.used(nowMs);
    this.#atMs = nowMs;
  }

  hasRoom(_: number, cost: number): boolean {
    return this.#used + Math.min(cost, this.most) <= this.most + 1e-6;
  }

  take(nowMs: number, { cost }: Request): void {
    this.pass(nowMs);
    this.#used += cost;
  }

  giveBack(nowMs: number, { cost }: Request): boolean {
    this.pass(nowMs);
    this.#used = Math.max(0, this.#used - cost);
    return true;
  }

  correct(nowMs: number, estimate: number, cost: number): void {
    this.pass(nowMs);
    this.#used = Math.max(0, this.#used + cost - estimate);
  }

  used(nowMs: number): number {
    return Math.max(0, this.#used - (nowMs - this.#atMs) * this.perMs);
  }
}

/** As Redis keeps times: to the microsecond. */
function round(ms: number): number {
  return Number(ms.toFixed(3));
}
