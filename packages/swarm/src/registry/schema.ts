/**
 * What a registry holds, as readers see it. Field names are public: scripts read them from
 * `swarm ps --json`. Times are epoch ms by the Redis server's clock, sizes are bytes.
 */
import type { DeathCause } from '../death.js';
import type { ActiveJob, Holding, WorkerInfo } from '../protocol.js';

export type ChildState = 'starting' | 'up' | 'quiet' | 'stopping' | 'backoff' | 'failed';
export type MasterState = 'starting' | 'up' | 'quiet' | 'stopping';

/** Field `child:<identity>` of a master's hash, as JSON. A slot that waits in backoff or failed has the identity of its last child. */
export interface ChildRecord {
  identity: string;
  slot: number;
  /** Name of the config's group, `default` without groups. */
  group: string;
  state: ChildState;
  generation: number;
  pid: number;
  /** Start time of the process in clock ticks since boot (Linux): tells a reused pid apart. */
  pidStartTicks: number | null;
  startedAtMs: number;
  readyAtMs: number | null;
  /** When the child last reported to its master. */
  beatAtMs: number | null;
  rssBytes: number | null;
  /** Proportional set size: shared pages counted once over all who share them. Linux only. */
  pssBytes: number | null;
  heapUsedBytes: number | null;
  heapLimitBytes: number | null;
  cpuPercent: number | null;
  loopLagMs: number | null;
  /** Event loop utilisation, 0 to 1. */
  elu: number | null;
  busy: number;
  concurrency: number;
  jobs: ActiveJob[];
  processed: number;
  failed: number;
  /** Unplanned replacements in this slot since the master started. */
  restarts: number;
  lastDeath: LastDeath | null;
  stuckSinceMs: number | null;
  workers: WorkerRecord[];
}

export interface WorkerRecord extends WorkerInfo {
  /** Jobs begun since the child's start; missing where it did not say. */
  started?: number | undefined;
}

export interface LastDeath {
  atMs: number;
  identity: string;
  pid: number;
  /** Exit code or signal name, as far as known. */
  code: number | null;
  signal: string | null;
  /** null: written by a version that did not know it. */
  cause: DeathCause | null;
}

/** Field `info` of a master's hash: what does not change while it runs. */
export interface MasterInfo {
  identity: string;
  host: string;
  /** The kernel's boot id, or null where there is none (macOS). */
  bootId: string | null;
  /** Inode of the pid namespace: a pid means something only inside the same one. */
  pidNamespace: string | null;
  pid: number;
  /** Start time of the process in clock ticks since boot (Linux): tells a reused pid apart. */
  pidStartTicks: number | null;
  startedAtMs: number;
  version: string;
  node: string;
  tag: string;
  labels: string[];
  app: string;
  /** The Redis of the registry, as its children name it; null: written by a version that did not say. */
  redisId: string | null;
  /** The effective configuration, without secrets. */
  config: Record<string, unknown>;
}

/** Jobs of a dead child that are not all accounted for yet: field `owed` of a master's hash, JSON. */
export interface Owed {
  /** Identity of the dead child. */
  owner: string;
  holdings: Holding[];
}

/** What runs of one kind of job leave behind in the children of a master: an entry of the field `jobMemory`, JSON. */
export interface JobMemoryRecord {
  queue: string;
  name: string;
  /** Since the master started. */
  runs: number;
  /** Growth of a child over one run; of the last 256 that were measured. */
  medianBytes: number;
  p95Bytes: number;
  /** Jobs ran at the same time, so that growth had to be shared among them. */
  approximate: boolean;
}

/** A kind of job in the children of one master, as `swarm ps --by-job --json` prints it. */
export interface JobMemoryOnHost extends JobMemoryRecord {
  host: string;
  /** Identity of the master. */
  master: string;
  tag: string;
}

/** How long completed jobs of one kind take in the children of a master: an entry of the field `jobDurations`, JSON. */
export interface JobDurationRecord {
  queue: string;
  name: string;
  /** Since the master started. */
  runs: number;
  /** Of the last thousand or two, within 5 %. */
  medianMs: number;
  p95Ms: number;
}

/** One master with its children, as `swarm ps --json` prints it. */
export interface MasterRecord {
  identity: string;
  host: string;
  pid: number;
  state: MasterState;
  generation: number;
  startedAtMs: number;
  beatAtMs: number;
  /** No beat for 15 s: the master, or its link to Redis, is gone. Or its process is, as far as the host that reads can see. */
  stale: boolean;
  tag: string;
  version: string;
  count: number;
  children: ChildRecord[];
  info: MasterInfo;
  /** For a master that comes after it on the same host. */
  owed: Owed[];
  /** By kind of job, those that leave most behind first; at most 100. */
  jobMemory: JobMemoryRecord[];
  /** By kind of job, those that take longest first; at most 100. */
  jobDurations: JobDurationRecord[];
  /** Last round trip of a beat, microseconds. */
  rttUs: number | null;
  /** Redis's clock minus its host's, ms; null: not known yet, or written by a version that did not say it. */
  clockOffsetMs: number | null;
  /** Why the last roll was given up; missing: it was not. */
  rollError?: string | undefined;
}

/** One running job, as `swarm jobs --json` prints it. */
export interface RunningJob extends ActiveJob {
  identity: string;
  slot: number;
  pid: number;
  host: string;
  /** Its master is stale: it ran when that was last heard of. */
  stale: boolean;
}

/** One running job, as `swarm jobs --slow --json` prints it. */
export interface SlowJob extends RunningJob {
  /** What jobs of that queue and name usually take, the median; null: none has completed yet. */
  usualMs: number | null;
  /** For how long it has run, as a multiple of that. */
  multiple: number | null;
}
