/**
 * The masters on this host, as what a check of the machine needs of them; where none runs, the one that the
 * configuration at hand would start. Pure.
 */
import type { Config } from '../config.js';
import type { ChildRecord, MasterRecord } from '../registry/schema.js';

export interface FleetGroup {
  name: string;
  count: number;
  /** null: the app's own. */
  concurrency: number | null;
  maxMemoryBytes: number | null;
  maxMemoryHardBytes: number | null;
}

export interface Fleet {
  /** For messages. */
  name: string;
  /** Of the master; null: it does not run. */
  pid: number | null;
  groups: readonly FleetGroup[];
  /** Those that run. */
  children: readonly ChildRecord[];
  drainTimeoutMs: number;
  jemalloc: boolean;
  /** Absolute; empty: none was found. */
  app: string;
  /** Of Node, as in `process.versions.node`. */
  node: string;
}

export function configuredFleet(config: Config): Fleet {
  const { groups, drainTimeoutMs, jemalloc, app } = config;
  return {
    name: 'the configuration here',
    pid: null,
    groups,
    children: [],
    drainTimeoutMs,
    jemalloc,
    app,
    node: process.versions.node,
  };
}

/** What a master publishes of its configuration may come from another version: what is missing has a default. */
export function runningFleet({ identity, pid, children, info, count }: MasterRecord): Fleet {
  const { config, app, node } = info;
  const groups = Array.isArray(config['groups']) ? config['groups'].flatMap(groupOf) : [];
  return {
    name: identity,
    pid,
    groups: scaled(groups, count, children),
    children: children.filter(({ state }) => state !== 'backoff' && state !== 'failed'),
    drainTimeoutMs: numberOr(config['drainTimeoutMs'], 25_000),
    jemalloc: config['jemalloc'] === true,
    app,
    node,
  };
}

/** What a master publishes is how it was started; `swarm scale` changes the counts. */
function scaled(
  groups: readonly FleetGroup[],
  count: number,
  children: MasterRecord['children'],
): FleetGroup[] {
  const [only, ...others] = groups;
  if (others.length === 0) return [{ ...(only ?? groupless), count }];
  const planned = groups.reduce((sum, group) => sum + group.count, 0);
  if (planned === count) return [...groups];
  return groups.map((group) => {
    const now = new Set(children.filter((child) => child.group === group.name).map(({ slot }) => slot)).size;
    return now > 0 ? { ...group, count: now } : group;
  });
}

const groupless = {
  name: 'default',
  count: 1,
  concurrency: null,
  maxMemoryBytes: null,
  maxMemoryHardBytes: null,
};

function groupOf(value: unknown): FleetGroup[] {
  if (typeof value !== 'object' || value === null) return [];
  const { name, count, concurrency, maxMemoryBytes, maxMemoryHardBytes } = value as Record<string, unknown>;
  return [
    {
      name: typeof name === 'string' ? name : 'default',
      count: numberOr(count, 1),
      concurrency: numberOr(concurrency, null),
      maxMemoryBytes: numberOr(maxMemoryBytes, null),
      maxMemoryHardBytes: numberOr(maxMemoryHardBytes, null),
    },
  ];
}

export function countOf({ groups }: Fleet): number {
  return groups.reduce((sum, { count }) => sum + count, 0);
}

function numberOr<T>(value: unknown, other: T): number | T {
  return typeof value === 'number' && Number.isFinite(value) ? value : other;
}
