/**
 * How much memory one more process may take: what the machine has available, and what each cgroup above us
 * leaves. Pure parsing; the reading is one function. Swap is not counted: who is in it is not working.
 */
import { readFileSync } from 'node:fs';
import { cgroupDirectories } from './cpus.js';

/** Beyond it, a limit of cgroup v1 is none; it shows the largest number that a counter holds. */
const NO_LIMIT_BYTES = 2 ** 60;

/** `MemAvailable` of `/proc/meminfo`: free, or to be had without swapping. null: not told. */
export function parseMemAvailable(text: string): number | null {
  const kib = /^MemAvailable:\s+(\d+) kB$/m.exec(text)?.[1];
  return kib === undefined ? null : Number(kib) * 1_024;
}

/** Text of a cgroup's files; null: not there. */
export interface CgroupMemory {
  limits: readonly (string | null)[];
  usage: string | null;
  stat: string | null;
}

/**
 * What a cgroup leaves: its limit less its usage, in which files count that were read a while ago and are
 * dropped as soon as memory is wanted. null: it has no limit.
 */
export function cgroupFree({ limits, usage, stat }: CgroupMemory): number | null {
  const bounds = limits
    .map((text) => Number(text?.trim() || Number.NaN))
    .filter((bytes) => bytes < NO_LIMIT_BYTES);
  const usedBytes = Number(usage?.trim() || Number.NaN);
  if (bounds.length === 0 || Number.isNaN(usedBytes)) return null;
  const inactive =
    /^total_inactive_file (\d+)$/m.exec(stat ?? '') ?? /^inactive_file (\d+)$/m.exec(stat ?? '');
  return Math.max(0, Math.min(...bounds) - usedBytes + Number(inactive?.[1] ?? 0));
}

/** null: neither the machine nor a cgroup tells. */
export function readFreeMemory(read: (path: string) => string | null = readText): number | null {
  const { v1, v2 } = cgroupDirectories(read('/proc/self/cgroup') ?? '', 'memory');
  const free = [
    parseMemAvailable(read('/proc/meminfo') ?? ''),
    ...v2.map((directory) =>
      cgroupFree({
        limits: [read(`${directory}/memory.max`), read(`${directory}/memory.high`)],
        usage: read(`${directory}/memory.current`),
        stat: read(`${directory}/memory.stat`),
      }),
    ),
    ...v1.map((directory) =>
      cgroupFree({
        limits: [read(`${directory}/memory.limit_in_bytes`)],
        usage: read(`${directory}/memory.usage_in_bytes`),
        stat: read(`${directory}/memory.stat`),
      }),
    ),
  ].filter((bytes) => bytes !== null);
  return free.length === 0 ? null : Math.min(...free);
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
