/**
 * Where the kernel counts the OOM kills of a process's memory cgroup, v1 or v2, in a container or not.
 * The file is found by the process's own path and this process's mounts, because neither alone tells:
 * paths are relative to a cgroup namespace, and a mount may show only a part of the hierarchy.
 */
import fs from 'node:fs';
import { posix } from 'node:path';

export interface MemoryCgroup {
  version: 1 | 2;
  /** As `/proc/<pid>/cgroup` has it. */
  path: string;
}

export interface CgroupMount {
  version: 1 | 2;
  /** The part of the hierarchy that is mounted. */
  root: string;
  mountPoint: string;
}

/** The memory cgroups in `/proc/<pid>/cgroup`, best first: where v1 has the memory controller, v2 counts nothing. */
export function parseCgroup(text: string): MemoryCgroup[] {
  const found: MemoryCgroup[] = [];
  for (const line of text.split('\n')) {
    const match = /^(\d+):([^:]*):(\/.*)$/.exec(line);
    if (!match) continue;
    const [, id, controllers = '', path = ''] = match;
    if (controllers.split(',').includes('memory')) found.unshift({ version: 1, path });
    else if (id === '0' && controllers === '') found.push({ version: 2, path });
  }
  return found;
}

/** Mounts of memory cgroups in `/proc/self/mountinfo`. */
export function parseCgroupMounts(text: string): CgroupMount[] {
  return text.split('\n').flatMap((line): CgroupMount[] => {
    const [before = '', after = ''] = line.split(' - ');
    const [, , , root, mountPoint] = before.split(' ').map(unescapeOctal);
    const [type, , options = ''] = after.split(' ');
    if (!root || !mountPoint) return [];
    if (type === 'cgroup2') return [{ version: 2, root, mountPoint }];
    const isMemory = type === 'cgroup' && options.split(',').includes('memory');
    return isMemory ? [{ version: 1, root, mountPoint }] : [];
  });
}

/** The directory of a cgroup; null: no mount shows it. */
export function cgroupDirectory(
  { version, path }: MemoryCgroup,
  mounts: readonly CgroupMount[],
): string | null {
  for (const { root, mountPoint } of mounts.filter((mount) => mount.version === version)) {
    const inside =
      root === '/'
        ? path
        : path === root
          ? '/'
          : path.startsWith(`${root}/`)
            ? path.slice(root.length)
            : null;
    // a path that climbs out of the namespace is nobody's here
    if (inside !== null && !inside.split('/').includes('..')) return posix.join(mountPoint, inside);
  }
  return null;
}

/** The `oom_kill` line of `memory.events`, `memory.oom_control` or `/proc/vmstat`; null: there is none. */
export function parseOomKills(text: string): number | null {
  const count = /^oom_kill (\d+)$/m.exec(text)?.[1];
  return count === undefined ? null : Number(count);
}

/** In v2 the local file is the better one: the other also counts victims in cgroups below. */
const COUNTER_FILES = { 1: ['memory.oom_control'], 2: ['memory.events.local', 'memory.events'] } as const;

/** Where a process is, and where its OOM kills are counted. */
export interface OomCounter {
  file: string;
  /** Path of the cgroup. */
  cgroup: string;
}

const MAX_KNOWN = 100;

/** What this process can see of cgroups. Reads are synchronous: see `proc.ts`. */
export class Cgroups {
  readonly #mounts = parseCgroupMounts(read('/proc/self/mountinfo') ?? '');
  /** By what `/proc/<pid>/cgroup` says: nearly all children say the same, each second. */
  readonly #known = new Map<string, OomCounter>();

  /** The counter of the cgroup that a living process is in; null: none can be read. */
  counterOf(pid: number): OomCounter | null {
    const text = read(`/proc/${pid}/cgroup`) ?? '';
    const known = this.#known.get(text);
    if (known) return known;
    const found = this.#find(text);
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    if (found) this.#known.set(text, found);
    return found;
  }

  #find(text: string): OomCounter | null {
    for (const cgroup of parseCgroup(text)) {
      const directory = cgroupDirectory(cgroup, this.#mounts);
      if (directory === null) continue;
      const files = COUNTER_FILES[cgroup.version].map((name) => posix.join(directory, name));
      const file = files.find((each) => readOomKills(each) !== null);
      if (file !== undefined) return { file, cgroup: cgroup.path };
    }
    return null;
  }
}

export function readOomKills(file: string): number | null {
  const text = read(file);
  return text === null ? null : parseOomKills(text);
}

function read(path: string): string | null {
  try {
    return fs.readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

/** mountinfo writes blanks and backslashes of paths as `\040`. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
