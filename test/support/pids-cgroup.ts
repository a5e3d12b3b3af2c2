/** A pids cgroup of a test's own, of either version: in it a fork can fail, as in a container with a limit. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { asRoot } from './as-root.js';
import { waitFor } from './wait.js';

export interface PidsCgroup {
  /** Moves a process in; what it starts from then on is in it too. */
  add(pid: number): void;
  /** So many processes and threads may be there; null: any number. */
  limit(count: number | null): void;
  /** Once all of its processes are gone. */
  remove(): Promise<void>;
}

const MOUNTS = [
  /^\S+ \S+ \S+ \S+ (\S+) .* - cgroup \S+ (?:\S*,)?pids(?:,|$)/m,
  /^\S+ \S+ \S+ \S+ (\S+) .* - cgroup2 /m,
];

/** A text: why there can be none on this machine. */
export function makePidsCgroup(): PidsCgroup | string {
  let mounts: string;
  try {
    mounts = readFileSync('/proc/self/mountinfo', 'utf8');
  } catch {
    return 'there is no /proc, so no cgroup';
  }
  const reasons: string[] = [];
  for (const mount of MOUNTS) {
    const mountPoint = mount.exec(mounts)?.[1];
    if (!mountPoint) continue;
    const directory = `${mountPoint}/swarm-test-${randomBytes(4).toString('hex')}`;
    const made = asRoot(
      `if [ -e ${mountPoint}/cgroup.subtree_control ]; then echo +pids > ${mountPoint}/cgroup.subtree_control; fi; ` +
        `mkdir ${directory} && echo max > ${directory}/pids.max || { rmdir ${directory}; exit 1; }`,
    );
    if (made === null) return cgroupAt(directory);
    reasons.push(made);
  }
  return `no pids cgroup can be made: ${reasons.join('; ')}`;
}

function cgroupAt(directory: string): PidsCgroup {
  const write = (value: string | number, file: string): void => {
    const failure = asRoot(`echo ${value} > ${directory}/${file}`);
    if (failure !== null) throw new Error(`${file} does not take ${value}: ${failure}`);
  };
  return {
    add: (pid) => write(pid, 'cgroup.procs'),
    limit: (count) => write(count ?? 'max', 'pids.max'),
    async remove() {
      await waitFor(`${directory} is removed`, () => asRoot(`rmdir ${directory}`) === null, {
        timeoutMs: 5_000,
      });
    },
  };
}
