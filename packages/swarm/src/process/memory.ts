/**
 * Memory and CPU of children: RSS and CPU from pidusage, PSS from `/proc/<pid>/smaps_rollup`.
 *
 * PSS is dear: the kernel walks all pages of the process, 0.5 ms for one of 60 MB and 4 ms for one of
 * 550 MB, ten to a hundred times the cost of RSS. So it is read every `pssIntervalMs` and remembered in
 * between. Everything is read asynchronously: such a walk also waits for the process's own page faults.
 *
 * pidusage keeps an open file per pid, and drops it a minute after the last question about that pid.
 * `pidusage.clear()` forgets these files without closing them, so it is no way to forget one child; it is
 * called in `close()`, when the process ends anyway, and when a pid came back as another process: the
 * kept file is then that of the dead one, and would say "no such process" for ever.
 */
import { readFile } from 'node:fs/promises';
import pidusage from 'pidusage';

export interface Sample {
  rssBytes: number | null;
  /** Since the sample before, 100 is one core; null in the first one. */
  cpuPercent: number | null;
  /** Proportional set size, not older than `pssIntervalMs`; null where unreadable (macOS, another user's process). */
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

const NOTHING: Sample = { rssBytes: null, cpuPercent: null, pssBytes: null };
/** Intervals and the timers that ask are not exact: what is due in less than this is read now. */
const PSS_EARLY_MS = 100;

export class Sampler {
  readonly #pssIntervalMs: number;
  #remembered = new Map<number, Remembered>();

  constructor(options: SamplerOptions = {}) {
    this.#pssIntervalMs = options.pssIntervalMs ?? 5_000;
  }

  /** One entry a pid, all null where the process is gone. Never rejects. */
  async sample(pids: readonly number[]): Promise<Map<number, Sample>> {
    const asked = pids.filter((pid) => Number.isInteger(pid) && pid > 0);
    const usage = await readUsage(asked);
    const samples = await Promise.all(asked.map((pid) => this.#sampleOne(pid, usage[pid] ?? null)));
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

  async #sampleOne(pid: number, usage: pidusage.Status | null): Promise<Sample> {
    if (usage === null) return this.#sampleUnknown(pid);
    const before = this.#remembered.get(pid);
    const nowMs = performance.now();
    let current = before;
    if (current === undefined || nowMs - current.pssAtMs >= this.#pssIntervalMs - PSS_EARLY_MS) {
      current = { pssBytes: (await readRollup(pid))?.pssBytes ?? null, pssAtMs: nowMs };
      this.#remembered.set(pid, current);
    }
    const cpuPercent = before === undefined ? null : usage.cpu;
    return { rssBytes: usage.memory, cpuPercent, pssBytes: current.pssBytes };
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

async function readUsage(pids: readonly number[]): Promise<Record<string, pidusage.Status | null>> {
  if (pids.length === 0) return {};
  try {
    return await pidusage([...pids]);
  } catch {
    // Of several pids a vanished one is null; when none is left, pidusage rejects.
    return {};
  }
}

async function readRollup(pid: number): Promise<{ rssBytes: number; pssBytes: number } | null> {
  try {
    return parseRollup(await readFile(`/proc/${pid}/smaps_rollup`, 'utf8'));
  } catch {
    return null;
  }
}
