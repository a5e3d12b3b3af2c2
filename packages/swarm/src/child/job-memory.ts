/**
 * How much memory the runs of each kind of job leave behind in this process: the growth of its anonymous
 * memory from one look to the next, given to the jobs that ran in between. What a later collection frees is
 * taken off whoever runs then, so that over many runs the sums are what the process really grew by.
 *
 * A look costs 2 µs, and a no-op job 120. So there are 50 looks a second at most; jobs that are faster share
 * what is seen at the next one. With one job at a time, or several of one kind in a row, that is exact; where
 * jobs overlap, or kinds mix between two looks, growth is shared by how long each of them ran in that time, and
 * is marked approximate.
 *
 * Rejected: PSS, a thousand times dearer to read. Anonymous memory is nobody else's (see `statm.ts`), so that its
 * growth is that of PSS, less code that was loaded, which is no job's leak.
 */
import { type JobGrowth, MAX_GROWTH_VALUES, MAX_JOB_KINDS } from '../protocol.js';
import { Statm } from '../statm.js';

/** One look's worth of time; unused time is saved for bursts, up to the second. */
const LOOK_MS = 20;
const MAX_SAVED_MS = 1_000;
/** A look at many jobs at once costs more. */
const LOOK_MS_PER_JOB = 0.05;
const MAX_NAME_LENGTH = 256;

/** A job that runs, or ended since the last look. */
export interface Run {
  readonly queue: string;
  readonly name: string;
  /** Its start, or the last look. By the wall clock, which is the cheapest to read; where it jumps, a share is wrong. */
  sinceMs: number;
  endedAtMs: number | null;
  /** What it was given by earlier looks. */
  leftBytes: number;
  approximate: boolean;
}

export class JobMemory {
  readonly #readBytes: () => number | null;
  readonly #nowMs: () => number;
  readonly #active = new Set<Run>();
  #ended: Run[] = [];
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
      endedAtMs: null,
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
    run.endedAtMs = nowMs;
    this.#active.delete(run);
    this.#ended.push(run);
    this.#savedMs = Math.min(MAX_SAVED_MS, this.#savedMs + Math.max(0, nowMs - this.#savedAtMs));
    this.#savedAtMs = nowMs;
    const priceMs = Math.min(MAX_SAVED_MS, LOOK_MS + LOOK_MS_PER_JOB * this.#active.size);
    if (this.#savedMs < priceMs) return;
    this.#savedMs -= priceMs;
    this.#look(nowMs);
  }

  /** What there is to say since the last call. */
  take(): JobGrowth[] {
    if (this.#ended.length > 0) this.#look(this.#nowMs());
    if (this.#kinds.size === 0) return [];
    const kinds = [...this.#kinds.values()];
    this.#kinds = new Map();
    return kinds;
  }

  #look(nowMs: number): void {
    const bytes = this.#readBytes();
    const ended = this.#ended;
    if (bytes !== null && this.#lastBytes !== null) this.#share(bytes - this.#lastBytes, nowMs);
    this.#lastBytes = bytes;
    this.#ended = [];
    this.#overlapped = this.#active.size > 1;
    for (const run of this.#active) run.sinceMs = nowMs;
    if (bytes !== null) this.#record(ended);
  }

  /** Gives growth to the runs that were there. */
  #share(growthBytes: number, nowMs: number): void {
    const runs = [...this.#ended, ...this.#active];
    const approximate = this.#overlapped || !isOneKind(runs);
    // so that jobs too fast for the clock have a share
    const weight = ({ sinceMs, endedAtMs }: Run): number => Math.max(0, (endedAtMs ?? nowMs) - sinceMs) + 0.1;
    const total = runs.reduce((sum, run) => sum + weight(run), 0);
    for (const run of runs) {
      run.leftBytes += (growthBytes * weight(run)) / total;
      if (approximate) run.approximate = true;
    }
  }

  /** One value for each kind: of runs that ended between the same two looks, only their sum is known. */
  #record(ended: readonly Run[]): void {
    const sums = new Map<string, { first: Run; runs: number; bytes: number }>();
    let [lastRun, lastSum] = [ended[0], { runs: 0, bytes: 0 }];
    for (const run of ended) {
      const isSame = lastSum.runs > 0 && lastRun && isAlike(lastRun, run);
      const sum = isSame ? lastSum : sumOf(sums, run);
      sum.runs += 1;
      sum.bytes += run.leftBytes;
      [lastRun, lastSum] = [run, sum];
    }
    for (const [key, { first, runs, bytes }] of sums) this.#add(key, first, runs, bytes / runs);
  }

  #add(key: string, { queue, name, approximate }: Run, runs: number, bytes: number): void {
    let kind = this.#kinds.get(key);
    if (!kind) {
      if (this.#kinds.size >= MAX_JOB_KINDS) return;
      kind = { queue, name: String(name).slice(0, MAX_NAME_LENGTH), approximate, runs: 0, values: [] };
      this.#kinds.set(key, kind);
    }
    kind.runs += runs;
    if (kind.values.length < MAX_GROWTH_VALUES) kind.values.push(Math.round(bytes));
  }
}

function sumOf(
  sums: Map<string, { first: Run; runs: number; bytes: number }>,
  run: Run,
): { runs: number; bytes: number } {
  const key = `${run.approximate ? '~' : '='}${run.queue}:${run.name}`;
  let sum = sums.get(key);
  if (!sum) {
    sum = { first: run, runs: 0, bytes: 0 };
    sums.set(key, sum);
  }
  return sum;
}

function isAlike(one: Run, other: Run): boolean {
  return one.name === other.name && one.queue === other.queue && one.approximate === other.approximate;
}

function isOneKind(runs: readonly Run[]): boolean {
  const [first] = runs;
  return runs.every((run) => run.name === first?.name && run.queue === first.queue);
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
