/**
 * Evidence of kernel OOM kills, gathered while children live, because a dead process has no `/proc`
 * entry to ask. The kernel says only how many it killed in a cgroup, and that rises for a victim that is
 * no child of ours as well (an `ffmpeg` that a job started); the kernel log, where it can be read, says who.
 * So each count explains one death at most, and what the log puts down to another pid explains none.
 */
import type { OomEvidence } from '../death.js';
import { Cgroups, type OomCounter, readOomKills } from './cgroup.js';
import { KernelLog, type OomVictim } from './kernel-log.js';
import { isExiting } from './proc.js';

/** From the kill to the exit: a process of many GB is taken down page by page. */
const KEEP_MS = 15_000;
/** More at once than any machine has seen is not a count. */
const MAX_STEP = 1_000;

/** Counts that nobody has claimed yet. Pure: the caller reads the counters and the clock. */
export class OomLedger {
  readonly #counters = new Map<string, { count: number; unclaimedAtMs: number[] }>();

  /** The first count of a source is where it starts from. */
  observe(source: string, count: number, nowMs: number): void {
    const known = this.#counters.get(source);
    // a lower count is a new cgroup of an old name
    if (!known || count < known.count) {
      this.#counters.set(source, { count, unclaimedAtMs: [] });
      return;
    }
    const step = Math.min(count - known.count, MAX_STEP);
    for (let at = 0; at < step; at++) known.unclaimedAtMs.push(nowMs);
    known.count = count;
    known.unclaimedAtMs = known.unclaimedAtMs.filter((atMs) => nowMs - atMs <= KEEP_MS);
  }

  /** null: the source is not known. */
  unclaimed(source: string, nowMs: number): number | null {
    const counter = this.#counters.get(source);
    return counter ? counter.unclaimedAtMs.filter((atMs) => nowMs - atMs <= KEEP_MS).length : null;
  }

  claim(source: string): void {
    this.#counters.get(source)?.unclaimedAtMs.shift();
  }

  /** Forgets sources that nobody asks for any more. */
  keepOnly(sources: ReadonlySet<string>): void {
    for (const source of this.#counters.keys()) if (!sources.has(source)) this.#counters.delete(source);
  }
}

const MACHINE = '/proc/vmstat';

export class OomWitness {
  readonly #cgroups: Pick<Cgroups, 'counterOf'>;
  readonly #isExiting: (pid: number) => boolean;
  readonly #log = KernelLog.open();
  readonly #ledger = new OomLedger();
  /** By pid: the cgroup that the process was last seen in. */
  readonly #places = new Map<number, OomCounter>();
  #victims: (OomVictim & { atMs: number })[] = [];

  constructor(kernel: { cgroups?: Pick<Cgroups, 'counterOf'>; isExiting?: (pid: number) => boolean } = {}) {
    this.#cgroups = kernel.cgroups ?? new Cgroups();
    this.#isExiting = kernel.isExiting ?? isExiting;
  }

  /** At its birth, and again each second: a process may be moved to another cgroup. */
  look(pids: Iterable<number>, nowMs: number): void {
    for (const pid of pids) {
      const counter = this.#cgroups.counterOf(pid);
      const known = this.#places.get(pid);
      // cgroup v1 shows who is dying in the root, where its death is not counted
      const isMoved = known !== undefined && known.file !== counter?.file;
      if (counter && !(isMoved && this.#isExiting(pid))) this.#places.set(pid, counter);
    }
    const files = new Set([...this.#places.values()].map(({ file }) => file));
    for (const file of files) this.#observe(file, nowMs);
    this.#readShared(nowMs);
    this.#ledger.keepOnly(files.add(MACHINE));
  }

  /** What speaks for an OOM kill of a process that is gone. It is asked once. */
  testify(pid: number, bornAtMs: number, nowMs: number): OomEvidence {
    const place = this.#places.get(pid) ?? null;
    if (place) this.#observe(place.file, nowMs);
    this.#readShared(nowMs);
    const named = this.#victims.find((victim) => victim.pid === pid && victim.atMs >= bornAtMs);
    this.#victims = this.#victims.filter((victim) => victim !== named);
    const unclaimed = place ? (this.#ledger.unclaimed(place.file, nowMs) ?? 0) : 0;
    const others = place ? this.#victims.filter((victim) => isIn(victim, place)).length : 0;
    const counted = Math.max(0, unclaimed - others);
    if (place && counted > 0) this.#ledger.claim(place.file);
    return {
      counterFile: place?.file ?? null,
      counted,
      kernelLogRead: this.#log?.isCurrent ?? false,
      kernelLog: named?.text ?? null,
      anonRssBytes: named?.anonRssBytes ?? null,
      onMachine: this.#ledger.unclaimed(MACHINE, nowMs),
    };
  }

  forget(pid: number): void {
    this.#places.delete(pid);
  }

  close(): void {
    this.#log?.close();
  }

  #observe(file: string, nowMs: number): void {
    const count = readOomKills(file);
    if (count !== null) this.#ledger.observe(file, count, nowMs);
  }

  #readShared(nowMs: number): void {
    this.#observe(MACHINE, nowMs);
    const fresh = this.#log?.read() ?? [];
    this.#victims = this.#victims.filter(({ atMs }) => nowMs - atMs <= KEEP_MS);
    this.#victims.push(...fresh.map((victim) => ({ ...victim, atMs: nowMs })));
  }
}

/** Where the log does not say, it may be. */
function isIn(victim: OomVictim, { cgroup }: OomCounter): boolean {
  return victim.cgroup === null || victim.cgroup === cgroup;
}
