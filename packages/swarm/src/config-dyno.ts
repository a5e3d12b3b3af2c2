/**
 * What a Heroku dyno changes about defaults. It has many CPUs that are others' as well, and a memory quota above which it
 * swaps (R14) and, at twice of it, is killed (R15): so memory decides how many children there are, and how large
 * each may grow. Pure, but for the reading of the cgroup's limit.
 */
import { readFileSync } from 'node:fs';
import type { GroupConfig } from './config.js';
import { limitsOf } from './config-groups.js';
import type { OptionValues } from './options.js';

const MIB = 2 ** 20;
/** The master, and what is not a child's own. */
const MASTER_BYTES = 100 * MIB;
/** What the Node buildpack takes for one process if nobody says. */
const USUAL_CHILD_BYTES = 512 * MIB;
/** The largest dyno that there is; above it, a limit is the machine's, not the dyno's. */
const LARGEST_DYNO_BYTES = 129_024 * MIB;
/** A share that is smaller is no limit but a mistake: nothing boots within it. */
const SMALLEST_CHILD_BYTES = 64 * MIB;
const CGROUP_LIMITS = ['/sys/fs/cgroup/memory/memory.limit_in_bytes', '/sys/fs/cgroup/memory.max'];

export interface Dyno {
  /** `worker.1`: takes the place of a host's name. */
  name: string;
  /** null: not known. */
  memoryBytes: number | null;
  /** Of one process, as the app's owner reckons it. */
  childBytes: number;
  /** Where its memory was read, for `swarm config`. */
  origin: string;
}

/** null: this is no dyno. `readLimit`: of the cgroup, in bytes. */
export function dynoOf(
  env: NodeJS.ProcessEnv,
  readLimit: () => number | null = readCgroupLimit,
): Dyno | null {
  const name = dynoName(env);
  if (name === null) return null;
  const available = mebibytes(env['MEMORY_AVAILABLE']);
  const limit = available ?? readLimit();
  const memoryBytes = limit !== null && limit <= LARGEST_DYNO_BYTES ? limit : null;
  const childBytes = mebibytes(env['WEB_MEMORY']) ?? USUAL_CHILD_BYTES;
  const origin =
    available === null ? "dyno's memory limit" : `dyno, MEMORY_AVAILABLE=${env['MEMORY_AVAILABLE']}`;
  return { name, memoryBytes, childBytes, origin };
}

/** `DYNO`, as far as it is a name. */
export function dynoName({ DYNO }: NodeJS.ProcessEnv): string | null {
  return DYNO !== undefined && /^[\w.-]{1,64}$/.test(DYNO) ? DYNO : null;
}

/** Children that fit; of CPUs there are enough. */
export function dynoCount({ memoryBytes, childBytes }: Dyno, cpus: number): number {
  if (memoryBytes === null) return cpus;
  return Math.max(1, Math.min(cpus, Math.floor(memoryBytes / childBytes)));
}

/** What `--max-memory` is where nobody says: an equal share of what the master leaves. null: no limit. */
export function dynoShareBytes({ memoryBytes }: Dyno, count: number): number | null {
  if (memoryBytes === null) return null;
  const share = Math.floor((memoryBytes - MASTER_BYTES) / count / MIB) * MIB;
  return share < SMALLEST_CHILD_BYTES ? null : share;
}

/** Groups without a limit of their own get one. */
export function withDynoLimits(groups: readonly GroupConfig[], shareBytes: number): GroupConfig[] {
  return groups.map((group) => {
    if (group.maxMemoryBytes !== null || group.maxMemoryHardBytes !== null) return group;
    const { maxJobs, maxAgeMs: maxAge } = group;
    return { ...group, ...limitsOf({ maxMemory: shareBytes, maxMemoryHard: null, maxJobs, maxAge }, '') };
  });
}

/** The app and release that a dyno runs, where Heroku's runtime-dyno-metadata is on. */
export function dynoLabels(env: NodeJS.ProcessEnv, labels: OptionValues['labels']): readonly string[] {
  if (dynoName(env) === null) return labels;
  const own = [env['HEROKU_APP_NAME'], env['HEROKU_RELEASE_VERSION']];
  return [
    ...labels,
    ...own.filter((label) => label !== undefined && /^[\w.-]{1,100}$/.test(label)),
  ] as string[];
}

function mebibytes(text: string | undefined): number | null {
  return text !== undefined && /^[1-9]\d{0,8}$/.test(text) ? Number(text) * MIB : null;
}

function readCgroupLimit(): number | null {
  for (const path of CGROUP_LIMITS) {
    try {
      const bytes = Number(readFileSync(path, 'utf8'));
      if (bytes > 0) return bytes;
    } catch {
      // the other version's
    }
  }
  return null;
}
