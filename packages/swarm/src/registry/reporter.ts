/**
 * Writes a master into the registry: every 5 s, and soon after each change. Redis may be gone for as
 * long as it likes: the reporter says so once in a while, and writes everything again when it is back,
 * because each write is the whole of it.
 */
import type { Logger } from '../log.js';
import type { MasterReport, RegistryWriter } from './writer.js';

const BEAT_MS = 5_000;
/** While somebody looks on. */
const WATCHED_BEAT_MS = 1_000;
/** At most four writes a second, however much happens that can wait. */
const COALESCE_MS = 250;
/** While Redis is away: how often to try, and how often to say so. */
const RETRY_MS = 1_000;
const REPEAT_MS = 30_000;
const NOTABLE_OFFSET_MS = 500;

export type Urgency = 'soon' | 'now';

export class Reporter {
  readonly #writer: RegistryWriter;
  readonly #snapshot: (clockOffsetMs: number) => MasterReport;
  readonly #log: Logger;
  readonly #onLost: () => void;
  readonly #onBack: () => void;
  readonly #onBeat: (stale: readonly string[]) => void;
  #timer: NodeJS.Timeout | null = null;
  #dueAtMs = 0;
  #writing: Promise<void> | null = null;
  /** While a write was under way, and until when it can wait. */
  #changedMeanwhile: Urgency | null = null;
  #lastWriteAtMs = Number.NEGATIVE_INFINITY;
  #rttUs: number | null = null;
  #isWatched = false;
  /** Redis's clock minus ours: hosts need not agree on the time, a registry must. */
  #clockOffsetMs = 0;
  /** Monotonic; null while Redis answers. */
  #lostAtMs: number | null = null;
  /** Monotonic; null: nothing was said of this loss. */
  #saidAtMs: number | null = null;
  #closed = false;

  constructor(parts: {
    writer: RegistryWriter;
    /** @param clockOffsetMs to be added to this host's times */
    snapshot: (clockOffsetMs: number) => MasterReport;
    log: Logger;
    onLost: () => void;
    onBack: () => void;
    /** After each write: which other masters are stale. */
    onBeat: (stale: readonly string[]) => void;
  }) {
    this.#writer = parts.writer;
    this.#snapshot = parts.snapshot;
    this.#log = parts.log;
    this.#onLost = parts.onLost;
    this.#onBack = parts.onBack;
    this.#onBeat = parts.onBeat;
  }

  /** Redis's clock minus this host's, as last measured. */
  get clockOffsetMs(): number {
    return this.#clockOffsetMs;
  }

  /** Something that readers see has changed; `now`: whoever comes after this master could not do without. */
  changed(urgency: Urgency = 'soon'): void {
    if (this.#writing) {
      if (this.#changedMeanwhile !== 'now') this.#changedMeanwhile = urgency;
    } else if (this.#lostAtMs === null) {
      const waitMs = this.#lastWriteAtMs + COALESCE_MS - performance.now();
      this.#schedule(urgency === 'now' ? 0 : Math.max(0, waitMs));
    }
  }

  /** The last write: nothing follows it. */
  async close(finalReport: 'write' | 'remove', timeoutMs: number): Promise<void> {
    this.#closed = true;
    if (this.#timer) clearTimeout(this.#timer);
    const last = async (): Promise<void> => {
      await this.#writing;
      if (finalReport === 'remove') await this.#writer.remove();
      else await this.#writer.beat(this.#snapshot(this.#clockOffsetMs), this.#rttUs);
    };
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    await Promise.race([last().catch(() => {}), late]);
    clearTimeout(timer);
  }

  #schedule(inMs: number): void {
    const dueAtMs = performance.now() + inMs;
    if (this.#closed || (this.#timer && this.#dueAtMs <= dueAtMs)) return;
    if (this.#timer) clearTimeout(this.#timer);
    this.#dueAtMs = dueAtMs;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#writing = this.#write().finally(() => {
        this.#writing = null;
        const nextMs = this.#lostAtMs === null ? this.#nextWriteMs() : RETRY_MS;
        this.#changedMeanwhile = null;
        this.#schedule(nextMs);
      });
    }, inMs);
  }

  #nextWriteMs(): number {
    if (this.#changedMeanwhile === 'now') return 0;
    if (this.#changedMeanwhile === 'soon') return COALESCE_MS;
    return this.#isWatched ? WATCHED_BEAT_MS : BEAT_MS;
  }

  async #write(): Promise<void> {
    this.#lastWriteAtMs = performance.now();
    try {
      const { redisTimeMs, rttUs, stale, isWatched } = await this.#writer.beat(
        this.#snapshot(this.#clockOffsetMs),
        this.#rttUs,
      );
      const isFirst = this.#rttUs === null;
      this.#rttUs = rttUs;
      this.#isWatched = isWatched;
      this.#clockOffsetMs = Math.round(redisTimeMs + rttUs / 2_000 - Date.now());
      // the first was written before the offset was known
      if (isFirst && Math.abs(this.#clockOffsetMs) > NOTABLE_OFFSET_MS) this.#changedMeanwhile ??= 'soon';
      this.#back();
      this.#onBeat(stale);
    } catch (error) {
      this.#lost(error);
    }
  }

  #lost(error: unknown): void {
    if (this.#closed) return;
    const nowMs = performance.now();
    if (this.#lostAtMs === null) {
      this.#lostAtMs = nowMs;
      this.#onLost();
      // said at the next try: a connection that breaks does not say why, one that cannot be made does
      return;
    }
    if (this.#saidAtMs !== null && nowMs - this.#saidAtMs < REPEAT_MS) return;
    this.#saidAtMs = nowMs;
    this.#log.error(
      'registry is not written: Redis does not take it; children go on, and it is tried every second',
      {
        error: error instanceof Error ? error.message : String(error),
        for: `${Math.round((nowMs - this.#lostAtMs) / 1_000)}s`,
      },
    );
  }

  #back(): void {
    if (this.#lostAtMs === null) return;
    const lostForMs = performance.now() - this.#lostAtMs;
    this.#lostAtMs = null;
    const wasSaid = this.#saidAtMs !== null;
    this.#saidAtMs = null;
    this.#log[wasSaid ? 'info' : 'debug']('registry is written again', {
      after: `${(lostForMs / 1_000).toFixed(1)}s`,
    });
    this.#onBack();
  }
}
