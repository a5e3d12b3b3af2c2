/**
 * What the kernel says of this machine and its processes. `root` is where `/proc` and `/sys` are looked for: tests
 * bring their own. What cannot be read is null.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { cgroupDirectories } from '../process/cpus.js';
import { parseStat } from '../process/proc.js';

export interface Bound {
  value: number;
  /** The file that says so. */
  file: string;
}

/** cgroup v1 writes the largest number of pages that a counter holds for "no limit". */
const NO_LIMIT = 2 ** 60;

export class Machine {
  readonly #root: string;

  constructor(root = '') {
    this.#root = root;
  }

  read(path: string): string | null {
    try {
      return readFileSync(this.#root + path, 'utf8');
    } catch {
      return null;
    }
  }

  readNumber(path: string): number | null {
    const text = this.read(path)?.trim();
    const number = text === undefined || text === '' ? Number.NaN : Number(text);
    return Number.isFinite(number) ? number : null;
  }

  /** Only of this user's processes, unless root asks. */
  environment(pid: number): ReadonlyMap<string, string> | null {
    const text = this.read(`/proc/${pid}/environ`);
    if (text === null) return null;
    const entries = text.split('\0').flatMap((entry): [string, string][] => {
      const at = entry.indexOf('=');
      return at > 0 ? [[entry.slice(0, at), entry.slice(at + 1)]] : [];
    });
    return new Map(entries);
  }

  commandLine(pid: number): string[] {
    const text = this.read(`/proc/${pid}/cmdline`) ?? '';
    return text.split('\0').filter((word) => word !== '');
  }

  parentOf(pid: number): number | null {
    return this.stat(pid)?.ppid ?? null;
  }

  stat(pid: number) {
    const text = this.read(`/proc/${pid}/stat`);
    return text === null ? null : parseStat(text);
  }

  get pids(): number[] {
    return this.#names('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number);
  }

  openFiles(pid: number): number | null {
    const { length } = this.#names(`/proc/${pid}/fd`);
    return length === 0 ? null : length;
  }

  /** Pids of another namespace are other processes. */
  pidNamespace(pid: number | 'self'): string | null {
    try {
      return readlinkSync(`${this.#root}/proc/${pid}/ns/pid`);
    } catch {
      return null;
    }
  }

  threads(pid: number): number | null {
    const count = /^Threads:\s+(\d+)$/m.exec(this.read(`/proc/${pid}/status`) ?? '')?.[1];
    return count === undefined ? null : Number(count);
  }

  /** A soft limit of `/proc/<pid>/limits`, such as `Max open files`; Infinity: unlimited. */
  softLimit(pid: number | 'self', name: string): number | null {
    const line = (this.read(`/proc/${pid}/limits`) ?? '').split('\n').find((each) => each.startsWith(name));
    const soft = line?.slice(name.length).trim().split(/\s+/)[0];
    if (soft === undefined) return null;
    return soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft);
  }

  /** `MemTotal` and the like, of `/proc/meminfo`. */
  memory(field: string): number | null {
    const kib = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(this.read('/proc/meminfo') ?? '')?.[1];
    return kib === undefined ? null : Number(kib) * 1_024;
  }

  /** The tightest memory limit of all cgroups around a process. */
  memoryLimit(pid: number | 'self'): Bound | null {
    const { v1, v2 } = this.#directories(pid, 'memory');
    return this.#tightest([
      ...v2.map((directory) => `${directory}/memory.max`),
      ...v1.map((directory) => `${directory}/memory.limit_in_bytes`),
    ]);
  }

  /** The tightest limit of processes and threads, with how many there are in that cgroup. */
  pidsLimit(pid: number | 'self'): (Bound & { current: number | null }) | null {
    const { v1, v2 } = this.#directories(pid, 'pids');
    const bound = this.#tightest([...v2, ...v1].map((directory) => `${directory}/pids.max`));
    return bound && { ...bound, current: this.readNumber(bound.file.replace(/max$/, 'current')) };
  }

  /** cgroups around a process that the kernel kills as a whole: their `memory.oom.group` files. null: no cgroup v2 tells. */
  oomGroups(pid: number | 'self'): string[] | null {
    const files = this.#directories(pid, 'memory').v2.map((directory) => `${directory}/memory.oom.group`);
    const known = files.filter((file) => this.readNumber(file) !== null);
    return known.length === 0 ? null : known.filter((file) => this.readNumber(file) === 1);
  }

  #tightest(files: readonly string[]): Bound | null {
    const bounds = files.flatMap((file): Bound[] => {
      const value = this.readNumber(file);
      return value === null || value >= NO_LIMIT ? [] : [{ value, file }];
    });
    return bounds.reduce<Bound | null>(
      (least, each) => (least && least.value <= each.value ? least : each),
      null,
    );
  }

  #directories(pid: number | 'self', controller: string): { v1: string[]; v2: string[] } {
    return cgroupDirectories(this.read(`/proc/${pid}/cgroup`) ?? '', controller);
  }

  #names(directory: string): string[] {
    try {
      return readdirSync(this.#root + directory);
    } catch {
      return [];
    }
  }
}
