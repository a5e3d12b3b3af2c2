/** cgroups around us that the kernel kills as a whole when they are out of memory: the master goes with the child. */
import { readFileSync } from 'node:fs';
import { cgroupDirectories } from './cpus.js';

export interface OomGroup {
  /** Its `memory.oom.group`. */
  file: string;
  /** Its `memory.max`; null: none, or not readable. */
  limitBytes: number | null;
}

/** Of version 2: version 1 has no such thing. */
export function readOomGroups(read: (path: string) => string | null = readText): OomGroup[] {
  const { v2 } = cgroupDirectories(read('/proc/self/cgroup') ?? '', 'memory');
  return v2.flatMap((directory) => {
    const file = `${directory}/memory.oom.group`;
    if (read(file)?.trim() !== '1') return [];
    const limit = Number(read(`${directory}/memory.max`)?.trim() || Number.NaN);
    return [{ file, limitBytes: Number.isFinite(limit) ? limit : null }];
  });
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
