/**
 * How much memory the runs of each kind of job leave behind in this process: the growth of its anonymous
 * memory from one look to the next, given to the jobs that ran in between. What a later collection frees is
 * taken off whoever runs then, so that over many runs the sums are what the process really grew by.
 *
 * What is kept of each job costs 0.3 µs, where a no-op job costs 120; a look costs ten to fifty times that. So
 * looks are rationed: jobs that take 25 ms or more have one each, faster ones share what the next one shows.
 * With one job at a time, or several of one kind in a row, that is exact; where jobs overlap, or kinds mix between
 * two looks, growth is shared by how long each of them ran in that time, and is marked approximate.
 *
 * Rejected: PSS, a thousand times dearer to read. Anonymous memory is nobody else's (see `statm.ts`), so that its
 * growth is that of PSS, less code that was loaded, which is no job's leak.
 */
import { type JobGrowth, MAX_GROWTH_VALUES, MAX_JOB_KINDS } from '../protocol.js';
import { Statm } from '../statm.js';

/** One look's worth of time; unused time is saved for bursts, up to the second. */
const LOOK_MS = 20;
const MAX_SAVED_MS = 1_000;
/** A look at many jobs costs more and says less: where they take a millisecond, there is one a second. */
const LOOK_MS_PER_JOB = 2;
const MAX_NAME_LENGTH = 256;

interface Kind {
  readonly queue: string;
  readonly name: string;
}

/** A job that runs. */
export interface Run extends Kind {
  /** Its start, or the last look. By the wall clock, which is the cheapest to read; where it jumps, a share is wrong. */
  sinceMs: number;
  /** What it was given by earlier looks. */
  leftBytes: number;
  approximate: boolean;
}

/** Runs of one kind that ended since the last look. Their sums: thousands of jobs a second may end. */
interface Ended extends Kind {
  runs: number;
  weightMs: number;
  leftBytes: number;
  approximate: boolean;
}

export class JobMemory {
  readonly #readBytes: () => number | null;
  readonly #nowMs: () => number;
  readonly #active = new Set<Run>();
  #ended = new Map<string, Ended>();
  #lastEnded: Ended | null = null;
  #endedRuns = 0;
  #kinds = new Map<string, JobGrowth>();
  /** Since the last look, jobs ran at the same time. */
  #overlapped = false;
  /** null: before the first job, whose look is not to count what the app's boot took. */
  #lastBytes: number | null = null;
  #savedMs = MAX_SAVED_MS;
  #savedAtMs: number;

  constructor(readBytes = openSelf(), nowMs = Date.now) {
    this.#readBytes = readBytes;
    this.#nowMs = nowMs;
    this.#savedAtMs = nowMs();
  }

  begin(queue: string, name: string): Run {
    const run: Run = {
      queue,
      name,
      sinceMs: this.#nowMs(),
      leftBytes: 0,
      approximate: false,
    };
    this.#lastBytes ??= this.#readBytes();
    if (this.#active.size > 0) this.#overlapped = true;
    this.#active.add(run);
    return run;
  }

  end(run: Run): void {
    const nowMs = this.#nowMs();
    this.#active.delete(run);
    this.#addEnded(run, nowMs);
    this.#savedMs = Math.min(MAX_SAVED_MS, this.#savedMs + Math.max(0, nowMs - this.#savedAtMs));
    this.#savedAtMs = nowMs;
    const jobs = this.#active.size + this.#endedRuns;
    const priceMs = Math.min(MAX_SAVED_MS, LOOK_MS + LOOK_MS_PER_JOB * jobs);
    if (this.#savedMs < priceMs) return;
    this.#savedMs -= priceMs;
    this.#look(nowMs);
  }

  /** What there is to say since the last call. */
  take(): JobGrowth[] {
    if (this.#endedRuns > 0) this.#look(this.#nowMs());
    if (this.#kinds.size === 0) return [];
    const kinds = [...this.#kinds.values()];
    this.#kinds = new Map();
    return kinds;
  }

  #look(nowMs: number): void {
    const bytes = this.#readBytes();
    const ended = [...this.#ended.values()];
    if (bytes !== null && this.#lastBytes !== null) this.#share(bytes - this.#lastBytes, nowMs, ended);
    this.#lastBytes = bytes;
    this.#ended = new Map();
    this.#lastEnded = null;
    this.#endedRuns = 0;
    this.#overlapped = this.#active.size > 1;
    for (const run of this.#active) run.sinceMs = nowMs;
    if (bytes !== null) this.#record(ended);
  }

  #addEnded(run: Run, nowMs: number): void {
    let ended = this.#lastEnded;
    if (!ended || !isAlike(ended, run)) {
      const key = keyOf(run);
      ended = this.#ended.get(key) ?? null;
      if (!ended) {
        const { queue, name, approximate } = run;
        ended = { queue, name, runs: 0, weightMs: 0, leftBytes: 0, approximate };
        this.#ended.set(key, ended);
      }
      this.#lastEnded = ended;
    }
    ended.runs += 1;
    ended.weightMs += weightMs(run, nowMs);
    ended.leftBytes += run.leftBytes;
    this.#endedRuns += 1;
  }

  /** Gives growth to the runs that were there. */
  #share(growthBytes: number, nowMs: number, endedRuns: readonly Ended[]): void {
    const [first] = endedRuns;
    let isMixed = this.#overlapped;
    let totalMs = 0;
    for (const ended of endedRuns) {
      totalMs += ended.weightMs;
      isMixed ||= first !== undefined && !isSameKind(ended, first);
    }
    for (const run of this.#active) {
      totalMs += weightMs(run, nowMs);
      isMixed ||= first !== undefined && !isSameKind(run, first);
    }
    for (const ended of endedRuns) {
      ended.leftBytes += (growthBytes * ended.weightMs) / totalMs;
      ended.approximate ||= isMixed;
    }
    for (const run of this.#active) {
      run.leftBytes += (growthBytes * weightMs(run, nowMs)) / totalMs;
      run.approximate ||= isMixed;
    }
  }

  /** One value for each kind: of runs that ended between the same two looks, only their sum is known. */
  #record(ended: readonly Ended[]): void {
    const sums = new Map<string, Ended>();
    for (const one of ended) {
      const key = keyOf(one);
      const sum = sums.get(key);
      if (!sum) sums.set(key, one);
      else {
        sum.runs += one.runs;
        sum.leftBytes += one.leftBytes;
      }
    }
    for (const [key, sum] of sums) this.#add(key, sum);
  }

  #add(key: string, { queue, name, approximate, runs, leftBytes }: Ended): void {
    let kind = this.#kinds.get(key);
    if (!kind) {
      if (this.#kinds.size >= MAX_JOB_KINDS) return;
      kind = { queue, name: String(name).slice(0, MAX_NAME_LENGTH), approximate, runs: 0, values: [] };
      this.#kinds.set(key, kind);
    }
    kind.runs += runs;
    if (kind.values.length < MAX_GROWTH_VALUES) kind.values.push(Math.round(leftBytes / runs));
  }
}

function isSameKind(one: Kind, other: Kind): boolean {
  return one.name === other.name && one.queue === other.queue;
}

/** The same for those that are alike. */
function keyOf({ queue, name, approximate }: Run | Ended): string {
  return `${approximate ? '~' : '='}${queue}:${name}`;
}

function isAlike(one: Run | Ended, other: Run | Ended): boolean {
  return isSameKind(one, other) && one.approximate === other.approximate;
}

/** How long it ran since the last look; jobs too fast for the clock have a share, too. */
function weightMs({ sinceMs }: Run, nowMs: number): number {
  return Math.max(0, nowMs - sinceMs) + 0.1;
}

/** Where there is no `/proc`, all of RSS has to do. */
function openSelf(): () => number | null {
  try {
    const statm = new Statm('self');
    return () => statm.read()?.anonymousBytes ?? null;
  } catch {
    return () => process.memoryUsage.rss();
  }
}
