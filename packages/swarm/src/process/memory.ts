/**
 * Memory and CPU of children: RSS and CPU from pidusage, PSS from `/proc/<pid>/smaps_rollup`.
 *
 * PSS is dear: the kernel walks all pages of the process, 0.5 ms of CPU for one of 60 MB, 4 to 10 ms for one of
 * 500 MB, 25 ms for one of 2 GB; hundreds of times the cost of RSS. So it is read every `pssIntervalMs` and
 * remembered in between. Where a limit makes every second count, it is read each time, but only from a process
 * whose RSS is above that limit: PSS is never more than RSS, so below it nothing could come of it, and children
 * that keep within their limit cost nothing more. Everything is read asynchronously: such a walk also waits for the
 * process's own page faults.
 *
 * pidusage keeps an open file per pid, and drops it a minute after the last question about that pid.
 * `pidusage.clear()` forgets these files without closing them, so it is no way to forget one child; it is
 * called in `close()`, when the process ends anyway, and when a pid came back as another process: the
 * kept file is then that of the dead one, and would say "no such process" for ever.
 */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import type Pidusage from 'pidusage';

// why not by import: see redis/ioredis.ts
const require = createRequire(import.meta.url);
const pidusage: typeof Pidusage = require('pidusage');

export interface Sample {
  rssBytes: number | null;
  /** Since the sample before, 100 is one core; null in the first one. */
  cpuPercent: number | null;
  /**
   * Proportional set size, not older than `pssIntervalMs`, nor than RSS where that is above its limit; null where
   * unreadable (macOS, another user's process).
   */
  pssBytes: number | null;
}

export interface SamplerOptions {
  /** Default 5000. */
  pssIntervalMs?: number;
}

interface Remembered {
  pssBytes: number | null;
  pssAtMs: number;
}

const NO_LIMITS: ReadonlyMap<number, number> = new Map();
const NOTHING: Sample = { rssBytes: null, cpuPercent: null, pssBytes: null };
/** Intervals and the timers that ask are not exact: what is due in less than this is read now. */
const PSS_EARLY_MS = 100;

export class Sampler {
  readonly #pssIntervalMs: number;
  #remembered = new Map<number, Remembered>();

  constructor(options: SamplerOptions = {}) {
    this.#pssIntervalMs = options.pssIntervalMs ?? 5_000;
  }

  /**
   * One entry a pid, all null where the process is gone. Never rejects.
   *
   * @param limits from which RSS on PSS is read each time, by pid
   */
  async sample(
    pids: readonly number[],
    limits: ReadonlyMap<number, number> = NO_LIMITS,
  ): Promise<Map<number, Sample>> {
    const asked = pids.filter((pid) => Number.isInteger(pid) && pid > 0);
    const usage = await readUsage(asked);
    const samples = await Promise.all(
      asked.map((pid) => this.#sampleOne(pid, usage[pid] ?? null, limits.get(pid))),
    );
    const result = new Map(pids.map((pid) => [pid, NOTHING]));
    for (const [index, pid] of asked.entries()) result.set(pid, samples[index] ?? NOTHING);
    for (const pid of this.#remembered.keys()) {
      if (result.get(pid)?.rssBytes == null) this.#remembered.delete(pid);
    }
    return result;
  }

  /** At the end of the master: lets go of pidusage's timer and history. */
  close(): void {
    pidusage.clear();
    this.#remembered.clear();
  }

  async #sampleOne(
    pid: number,
    usage: Pidusage.Status | null,
    limitBytes = Number.POSITIVE_INFINITY,
  ): Promise<Sample> {
    if (usage === null) return this.#sampleUnknown(pid);
    const before = this.#remembered.get(pid);
    const nowMs = performance.now();
    let current = before;
    const isOld = current === undefined || nowMs - current.pssAtMs >= this.#pssIntervalMs - PSS_EARLY_MS;
    if (current === undefined || isOld || usage.memory > limitBytes) {
      current = { pssBytes: (await readRollup(pid))?.pssBytes ?? null, pssAtMs: nowMs };
      this.#remembered.set(pid, current);
    }
    const cpuPercent = before === undefined ? null : usage.cpu;
    // what is remembered may be from before memory was given back
    const pssBytes = current.pssBytes === null ? null : Math.min(current.pssBytes, usage.memory);
    return { rssBytes: usage.memory, cpuPercent, pssBytes };
  }

  /** pidusage knows nothing of it: it is gone, or its pid belonged to another process a moment ago. */
  async #sampleUnknown(pid: number): Promise<Sample> {
    const rollup = await readRollup(pid);
    if (rollup === null) return NOTHING;
    pidusage.clear();
    this.#remembered.clear();
    return { ...rollup, cpuPercent: null };
  }
}

/** Parses `/proc/<pid>/smaps_rollup`; null if it is not what proc(5) says. */
export function parseRollup(text: string): { rssBytes: number; pssBytes: number } | null {
  const rssKib = /^Rss:\s+(\d+) kB$/m.exec(text)?.[1];
  const pssKib = /^Pss:\s+(\d+) kB$/m.exec(text)?.[1];
  if (rssKib === undefined || pssKib === undefined) return null;
  return { rssBytes: Number(rssKib) * 1024, pssBytes: Number(pssKib) * 1024 };
}

/** pidusage's own: whether it keeps errors of `getconf` to itself. */
const SILENT = 'PIDUSAGE_SILENT';
let hasAsked = false;

async function readUsage(pids: readonly number[]): Promise<Record<string, Pidusage.Status | null>> {
  if (pids.length === 0) return {};
  // It runs `getconf` before its first answer, goes on with the usual values where that fails, and prints an error
  // as well: so it does when a platform's TERM to the whole group ends that too.
  const hushes = !hasAsked && process.env[SILENT] === undefined;
  hasAsked = true;
  if (hushes) process.env[SILENT] = '1';
  try {
    return await pidusage([...pids]);
  } catch {
    // Of several pids a vanished one is null; when none is left, pidusage rejects.
    return {};
  } finally {
    // what is started later has the environment that the user gave
    if (hushes) delete process.env[SILENT];
  }
}

/** Both sizes at once, as exact as the kernel has them; null: the process is gone, or another user's. */
export async function readRollup(pid: number): Promise<{ rssBytes: number; pssBytes: number } | null> {
  try {
    return parseRollup(await readFile(`/proc/${pid}/smaps_rollup`, 'utf8'));
  } catch {
    return null;
  }
}
