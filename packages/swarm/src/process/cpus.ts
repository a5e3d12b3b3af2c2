/**
 * How many CPUs this process may use: affinity (which `os.availableParallelism` sees) and the cgroup's
 * quota (which it does not, on all Node versions we run on). A quota can be set on any level above us,
 * so each level is read. Pure parsing; the reading is one function that answers null for what is not there.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

const CGROUP_ROOT = '/sys/fs/cgroup';

/** `cpu.max` of cgroup v2, `200000 100000` or `max 100000` → CPUs, null: no quota. */
export function parseCpuMax(text: string): number | null {
  const [quota, period = '100000'] = text.trim().split(/\s+/);
  return cpusOf(Number(quota), Number(period));
}

/** `cpu.cfs_quota_us` and `cpu.cfs_period_us` of cgroup v1; a quota of -1 is none. */
export function parseCfsQuota(quota: string, period: string): number | null {
  return cpusOf(Number(quota.trim()), Number(period.trim()));
}

function cpusOf(quotaUs: number, periodUs: number): number | null {
  return quotaUs > 0 && periodUs > 0 && Number.isFinite(quotaUs / periodUs) ? quotaUs / periodUs : null;
}

/** Directories that may hold our limits, by `/proc/self/cgroup`: own cgroup first, the mount's root last. */
export function cgroupDirectories(
  procSelfCgroup: string,
  controller = 'cpu',
): { v1: string[]; v2: string[] } {
  const directories: { v1: string[]; v2: string[] } = { v1: [], v2: [] };
  for (const line of procSelfCgroup.split('\n')) {
    const match = /^(\d+):([^:]*):(\/.*)$/.exec(line);
    if (!match) continue;
    const [, id, controllers = '', path = '/'] = match;
    if (id === '0' && controllers === '') {
      directories.v2.push(...withParents(CGROUP_ROOT, path));
    } else if (controllers.split(',').includes(controller)) {
      for (const mount of new Set([controllers, controller])) {
        directories.v1.push(...withParents(`${CGROUP_ROOT}/${mount}`, path));
      }
    }
  }
  return directories;
}

/** A path with `..` lies outside our cgroup namespace: only the root of the mount is ours to read. */
function withParents(mount: string, path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '');
  if (parts.includes('..')) return [mount];
  return Array.from({ length: parts.length + 1 }, (_, up) =>
    [mount, ...parts.slice(0, parts.length - up)].join('/'),
  );
}

/** The smallest of all bounds, in whole CPUs, at least 1. */
export function cpusWithin(available: number, quotas: readonly (number | null)[]): number {
  const bounds = quotas.filter((quota) => quota !== null);
  return Math.max(1, Math.floor(Math.min(available, ...bounds)));
}

export function allowedCpus(read: (path: string) => string | null = readText): number {
  const { v1, v2 } = cgroupDirectories(read('/proc/self/cgroup') ?? '');
  const quotas = [
    ...v2.map((directory) => {
      const text = read(`${directory}/cpu.max`);
      return text === null ? null : parseCpuMax(text);
    }),
    ...v1.map((directory) => {
      const quota = read(`${directory}/cpu.cfs_quota_us`);
      const period = read(`${directory}/cpu.cfs_period_us`);
      return quota === null || period === null ? null : parseCfsQuota(quota, period);
    }),
  ];
  return cpusWithin(availableParallelism(), quotas);
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
