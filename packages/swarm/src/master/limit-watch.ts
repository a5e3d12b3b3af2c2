/**
 * Holds children to their limits: reads what `supervisor/limits.ts` decides from, and asks the core for what
 * was decided. It costs nothing where no limit is set.
 *
 * A child that is due is asked for again with every reading, until its turn comes: whether there is room for
 * two may have changed, and a roll that was to replace it may have been given up.
 */
import type { GroupConfig } from '../config.js';
import type { Logger } from '../log.js';
import type { ChildHandle } from '../process/child-handle.js';
import { readFreeMemory } from '../process/free-memory.js';
import { readRollup, type Sample } from '../process/memory.js';
import type { JobMemoryRecord } from '../registry/schema.js';
import { Statm } from '../statm.js';
import type { SupervisorEvent } from '../supervisor/events.js';
import {
  afterSnapshot,
  type Bounds,
  type Excess,
  isOverHard,
  look,
  overlaps,
  type Reading,
  startWatch,
  type Watch,
} from '../supervisor/limits.js';
import { formatBytes } from '../units.js';
import { excessWords } from './excess-words.js';
import { where } from './narrator.js';

const HARD_LOOK_MS = 100;

export interface LimitParts {
  groups: readonly GroupConfig[];
  log: Logger;
  /** Every living child. */
  children: () => Iterable<ChildHandle>;
  /** Whether it sits in its seat and takes jobs, or would: who is on the way out needs no recycle. */
  isSeated: (identity: string) => boolean;
  /** By pid; what was read at a kill is put there. */
  samples: Map<number, Sample>;
  ask: (event: SupervisorEvent) => void;
  /** What kinds of jobs leave behind in the children. */
  growth: () => readonly JobMemoryRecord[];
}

interface Due {
  child: ChildHandle;
  reading: Reading;
  watch: Watch;
  excess: Excess;
}

export class LimitWatch {
  readonly #parts: LimitParts;
  /** By the identity of a child that is ready. */
  readonly #watches = new Map<string, Watch>();
  /** Open files, by identity. */
  readonly #statm = new Map<string, Statm>();
  /** Said once: recycles and kills of children, and groups with their generation. */
  readonly #said = new Set<string>();
  /** By identity: what it was over, when that was first seen. */
  readonly #excesses = new Map<string, string>();
  readonly #timer: NodeJS.Timeout | undefined;

  constructor(parts: LimitParts) {
    this.#parts = parts;
    if (parts.groups.some(({ maxMemoryHardBytes }) => maxMemoryHardBytes !== null)) {
      this.#timer = setInterval(() => this.#lookAtRss(), HARD_LOOK_MS);
    }
  }

  /** A child became ready: what it takes now is the app's baseline. */
  async ready(child: ChildHandle): Promise<void> {
    if (!this.#isLimited(child)) return;
    const reading = await readRollup(child.pid);
    // without /proc, the next sample will do
    if (reading) this.#begin(child, reading);
  }

  /** From which RSS on each reading of PSS counts, by pid. */
  get softBounds(): ReadonlyMap<number, number> {
    const bounds = new Map<number, number>();
    for (const { pid, identity } of this.#parts.children()) {
      const softBytes = this.#watches.get(identity)?.bounds.softBytes;
      if (typeof softBytes === 'number') bounds.set(pid, softBytes);
    }
    return bounds;
  }

  /** The samples of all children were renewed. */
  sampled(): void {
    const due: Due[] = [];
    for (const child of this.#parts.children()) {
      const reading = this.#parts.samples.get(child.pid);
      if (child.readyAtMs === null || !reading || !this.#isLimited(child)) continue;
      const watch = this.#watches.get(child.identity) ?? this.#begin(child, reading);
      const jobsDone = child.beat?.processed ?? 0;
      const next = look(watch, { ...reading, jobsDone }, performance.now());
      this.#watches.set(child.identity, next.watch);
      if (next.excess && this.#parts.isSeated(child.identity)) {
        due.push({ child, reading, watch: next.watch, excess: next.excess });
      }
    }
    if (due.length > 0) this.#recycle(due);
  }

  /** Why it was recycled or killed, with the figures; null: for no limit. */
  excessOf(identity: string): string | null {
    return this.#excesses.get(identity) ?? null;
  }

  snapshotTaken(child: ChildHandle): void {
    const watch = this.#watches.get(child.identity);
    if (watch) this.#watches.set(child.identity, afterSnapshot(watch, this.#rssOf(child)));
  }

  forget({ identity }: ChildHandle): void {
    this.#excesses.delete(identity);
    this.#watches.delete(identity);
    this.#said.delete(identity);
    this.#said.delete(killOf(identity));
    this.#statm.get(identity)?.close();
    this.#statm.delete(identity);
  }

  close(): void {
    clearInterval(this.#timer);
    for (const statm of this.#statm.values()) statm.close();
    this.#statm.clear();
  }

  #begin(child: ChildHandle, reading: Reading): Watch {
    const random = [Math.random(), Math.random()] as const;
    const { watch, isTooLow } = startWatch(this.#groupOf(child), reading, performance.now(), random);
    this.#watches.set(child.identity, watch);
    if (isTooLow) this.#sayTooLow(child, reading, watch);
    return watch;
  }

  #recycle(due: readonly Due[]): void {
    const fits = overlaps(
      due.map(({ child: { group }, reading, watch: { bounds } }) => ({ group, reading, bounds })),
      readFreeMemory(),
    );
    for (const [at, { child, excess, ...rest }] of due.entries()) {
      const { identity, slot } = child;
      const overlap = fits[at] ?? false;
      if (!this.#said.has(identity)) this.#sayRecycle({ child, excess, ...rest }, overlap);
      this.#parts.ask({ type: 'recycleRequested', slot, identity, detail: excess, overlap });
    }
  }

  #lookAtRss(): void {
    const { children, samples, ask, log } = this.#parts;
    for (const child of children()) {
      const limits = this.#groupOf(child);
      if (limits.maxMemoryHardBytes === null || child.exit) continue;
      const watch = this.#watches.get(child.identity);
      const rssBytes = this.#rssOf(child);
      if (rssBytes === null || !isOverHard(limits, watch, rssBytes)) continue;
      const { cpuPercent = null, pssBytes = null } = samples.get(child.pid) ?? {};
      samples.set(child.pid, { rssBytes, cpuPercent, pssBytes });
      const allowed = formatBytes(watch?.bounds.hardBytes ?? limits.maxMemoryHardBytes);
      const once = killOf(child.identity);
      if (!this.#said.has(once)) {
        log.warn('over the hard limit', { ...where(child), rss: formatBytes(rssBytes), allowed });
        this.#note(child, 'max-memory-hard', { rssBytes, pssBytes }, watch?.bounds);
      }
      this.#said.add(once);
      ask({ type: 'killRequested', identity: child.identity, reason: 'max-memory-hard' });
    }
  }

  #rssOf({ identity, pid }: ChildHandle): number | null {
    let statm = this.#statm.get(identity);
    try {
      statm ??= new Statm(pid);
    } catch {
      // no /proc, or no file to be had just now
      return this.#parts.samples.get(pid)?.rssBytes ?? null;
    }
    this.#statm.set(identity, statm);
    return statm.read()?.rssBytes ?? null;
  }

  #sayTooLow(child: ChildHandle, { pssBytes, rssBytes }: Reading, { bounds }: Watch): void {
    const once = `${child.group} of generation ${child.generation}`;
    if (this.#said.has(once)) return;
    this.#said.add(once);
    this.#parts.log.error('max-memory is less than the app takes before its first job: raise it', {
      ...where(child),
      ...sizeFields({ pssBytes, rssBytes }),
      max_memory: formatBytes(this.#groupOf(child).maxMemoryBytes ?? 0),
      recycled_above: formatBytes(bounds.softBytes ?? 0),
    });
  }

  #sayRecycle({ child, reading, watch: { bounds }, excess }: Due, overlap: boolean): void {
    this.#said.add(child.identity);
    this.#note(child, excess, reading, bounds);
    const fields = { ...where(child), reason: excess, overlap };
    if (excess === 'max-memory') {
      const allowed = formatBytes(bounds.softBytes ?? 0);
      this.#parts.log.warn('recycle', { ...fields, ...sizeFields(reading), allowed });
    } else {
      this.#parts.log.info('recycle', { ...fields, jobs: child.beat?.processed ?? 0 });
    }
  }

  #note(
    child: ChildHandle,
    excess: Excess | 'max-memory-hard',
    reading: Reading,
    bounds: Bounds | undefined,
  ): void {
    const { maxMemoryHardBytes: hardBytes } = this.#groupOf(child);
    const words = excessWords({
      excess,
      reading,
      bounds: bounds ?? { softBytes: null, hardBytes, jobs: null, ageMs: null },
      jobsDone: child.beat?.processed ?? 0,
      ageMs: Date.now() - (child.readyAtMs ?? child.startedAtMs),
      growth: this.#parts.growth(),
    });
    this.#excesses.set(child.identity, words);
  }

  #isLimited(child: ChildHandle): boolean {
    const { maxMemoryBytes, maxMemoryHardBytes, maxJobs, maxAgeMs } = this.#groupOf(child);
    return (maxMemoryBytes ?? maxMemoryHardBytes ?? maxJobs ?? maxAgeMs) !== null;
  }

  #groupOf({ group }: ChildHandle): GroupConfig {
    return this.#parts.groups.find(({ name }) => name === group) as GroupConfig;
  }
}

function killOf(identity: string): string {
  return `kill of ${identity}`;
}

function sizeFields({ pssBytes, rssBytes }: Reading): { pss: string } | { rss: string } {
  return pssBytes === null ? { rss: formatBytes(rssBytes ?? 0) } : { pss: formatBytes(pssBytes) };
}
