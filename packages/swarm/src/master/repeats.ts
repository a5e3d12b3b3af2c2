/**
 * Trouble that comes again and again is said once, then at growing intervals with how often it came meanwhile, and once
 * more when it is over. Nothing is said by a timer: what does not come again needs no line.
 */
import type { Logger } from '../log.js';

/** From one line to the next; doubled each time. */
const FIRST_GAP_MS = 5_000;
const MAX_GAP_MS = 300_000;
/** Other kinds of trouble than that no master has at once; the oldest is said anew if it comes again. */
const MAX_KINDS = 200;

export interface Repeat {
  sinceMs: number;
  saidAtMs: number;
  gapMs: number;
  /** In all. */
  times: number;
  /** Since the last line. */
  unsaid: number;
}

/** Pure. `says`: a line is due. @param free so many at the beginning are said each */
export function repeat(before: Repeat | null, nowMs: number, free = 1): { after: Repeat; says: boolean } {
  if (!before)
    return {
      after: { sinceMs: nowMs, saidAtMs: nowMs, gapMs: FIRST_GAP_MS, times: 1, unsaid: 0 },
      says: true,
    };
  const times = before.times + 1;
  if (times <= free) return { after: { ...before, times, saidAtMs: nowMs }, says: true };
  if (nowMs - before.saidAtMs < before.gapMs) {
    return { after: { ...before, times, unsaid: before.unsaid + 1 }, says: false };
  }
  const gapMs = Math.min(MAX_GAP_MS, 2 * before.gapMs);
  return { after: { ...before, times, saidAtMs: nowMs, gapMs, unsaid: 0 }, says: true };
}

type Fields = Parameters<Logger['warn']>[1];

export class Repeats {
  readonly #log: Pick<Logger, 'warn' | 'info'>;
  readonly #now: () => number;
  readonly #kinds = new Map<string, Repeat>();

  constructor(log: Pick<Logger, 'warn' | 'info'>, now = () => performance.now()) {
    this.#log = log;
    this.#now = now;
  }

  /** @param kind what counts as the same trouble */
  warn(kind: string, message: string, fields: Fields, free = 1): void {
    const before = this.#kinds.get(kind) ?? null;
    const { after, says } = repeat(before, this.#now(), free);
    this.#kinds.set(kind, after);
    if (this.#kinds.size > MAX_KINDS) this.#forgetOldest();
    if (!says) return;
    const unsaid = before?.unsaid ?? 0;
    const meanwhile = unsaid > 0 && { repeated: unsaid + 1, for: seconds(after.saidAtMs - after.sinceMs) };
    this.#log.warn(message, { ...fields, ...meanwhile });
  }

  /** The trouble is over; nothing is said where there was none. */
  over(kind: string, message: string): void {
    const { sinceMs, times } = this.#kinds.get(kind) ?? { sinceMs: 0, times: 0 };
    if (!this.#kinds.delete(kind)) return;
    this.#log.info(message, { failed: times, after: seconds(this.#now() - sinceMs) });
  }

  #forgetOldest(): void {
    const [oldest] = this.#kinds.keys();
    if (oldest !== undefined) this.#kinds.delete(oldest);
  }
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)}s`;
}
