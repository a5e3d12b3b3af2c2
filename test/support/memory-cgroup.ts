/** A memory cgroup of a test's own, of either version, so that the kernel's OOM killer is the real one. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { asRoot } from './as-root.js';
import { waitFor } from './wait.js';

export interface MemoryCgroup {
  /** Moves a process in; what it starts from then on is in it too. */
  add(pid: number): void;
  /** How many the kernel has killed in it. */
  oomKills(): number;
  /** Once all of its processes are gone. */
  remove(): Promise<void>;
}

const FILES = {
  1: {
    mount: /^\S+ \S+ \S+ (\S+) (\S+) .* - cgroup \S+ (?:\S*,)?memory(?:,|$)/m,
    limit: 'memory.limit_in_bytes',
    swap: 'memory.memsw.limit_in_bytes',
    events: 'memory.oom_control',
  },
  2: {
    mount: /^\S+ \S+ \S+ (\S+) (\S+) .* - cgroup2 /m,
    limit: 'memory.max',
    swap: 'memory.swap.max',
    events: 'memory.events',
  },
} as const;

/** A text: why there can be none on this machine. */
export function makeMemoryCgroup(limitBytes: number): MemoryCgroup | string {
  let mounts: string;
  try {
    mounts = readFileSync('/proc/self/mountinfo', 'utf8');
  } catch {
    return 'there is no /proc, so no cgroup';
  }
  const reasons: string[] = [];
  for (const version of [1, 2] as const) {
    const mountPoint = FILES[version].mount.exec(mounts)?.[2];
    const made = mountPoint ? make(version, mountPoint, limitBytes) : `v${version}: not mounted`;
    if (typeof made !== 'string') return made;
    reasons.push(made);
  }
  return `no memory cgroup can be made: ${reasons.join('; ')}`;
}

function make(version: 1 | 2, mountPoint: string, limitBytes: number): MemoryCgroup | string {
  const { limit, swap, events } = FILES[version];
  const directory = `${mountPoint}/swarm-test-${randomBytes(4).toString('hex')}`;
  const enable = version === 2 ? `echo +memory > ${mountPoint}/cgroup.subtree_control;` : '';
  const swapBytes = version === 2 ? 0 : limitBytes;
  const made = asRoot(
    `${enable} mkdir ${directory} && echo ${limitBytes} > ${directory}/${limit} || { rmdir ${directory}; exit 1; }; ` +
      `if [ -e ${directory}/${swap} ]; then echo ${swapBytes} > ${directory}/${swap}; fi`,
  );
  if (made !== null) return `v${version}: ${made}`;
  return {
    add(pid) {
      const failure = asRoot(`echo ${pid} > ${directory}/cgroup.procs`);
      if (failure !== null) throw new Error(`process ${pid} was not moved: ${failure}`);
    },
    oomKills() {
      return Number(/^oom_kill (\d+)$/m.exec(readFileSync(`${directory}/${events}`, 'utf8'))?.[1]);
    },
    async remove() {
      await waitFor(`${directory} is removed`, () => asRoot(`rmdir ${directory}`) === null, {
        timeoutMs: 5_000,
      });
    },
  };
}
