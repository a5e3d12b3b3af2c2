/**
 * The record of one exit: why a process ended, by which evidence, and what became of the jobs that it
 * held. Field names are public: `swarm deaths --json` prints them. Sizes are bytes, times epoch ms.
 */
import type { DumpDigest } from './dump.js';
import type { Blame } from './protocol.js';

export const DEATH_CAUSES = [
  /** It left as told: at a stop or a scale-down, by a roll, by a recycle. Killed, if it did not leave in time. */
  'stopped',
  'rolled',
  'recycled',
  /** Killed by its master. */
  'boot-timeout',
  'max-memory-hard',
  'stuck',
  'job-timeout',
  /** Killed by the kernel, because memory ran out. */
  'oom-kill',
  /** V8 gave up: its heap was full. */
  'heap-oom',
  /** An error that nobody caught. */
  'uncaught',
  /** A signal that was not its master's: somebody sent it, or native code crashed. */
  'signal',
  /** It ended itself. */
  'exit',
  /** Its master was killed, and it was gone when the next one looked. */
  'master-died',
  /** Its master is not heard of any more. */
  'host-lost',
] as const;

export type DeathCause = (typeof DEATH_CAUSES)[number];

/** Recorded by another master than its own, which saw nothing of the end itself. */
export type InheritedCause = Extract<DeathCause, 'master-died' | 'host-lost'>;

export function isInherited({ cause }: { cause: DeathCause }): boolean {
  return cause === 'master-died' || cause === 'host-lost';
}

/** What is known of an out-of-memory kill by the kernel; asked for where a SIGKILL is not the master's. */
export interface OomEvidence {
  /** The file whose `oom_kill` counts for the process's memory cgroup; null: none can be read. */
  counterFile: string | null;
  /** By how much it went up of late, other victims set aside. */
  counted: number;
  /** The kernel log could be read, and its pids are ours. */
  kernelLogRead: boolean;
  /** The kernel's own line about this process. */
  kernelLog: string | null;
  /** By the kernel log, at the moment of the kill. */
  anonRssBytes: number | null;
  /** OOM kills of late on the whole machine; null: not known. */
  onMachine: number | null;
}

export interface UncaughtEvidence {
  phase: 'boot' | 'run';
  message: string;
  stack: string;
}

export interface Evidence {
  /** In a line, for people. */
  summary: string;
  /** What would tell more, where the cause is not certain. */
  hint: string | null;
  /** Its master killed it: `stop-timeout`, `boot-timeout`, `max-memory-hard` … */
  killedFor: string | null;
  /** Its master had told it to leave: `stop`, `scale`, `roll` or `recycle`. */
  leavesFor: string | null;
  /** It was ready once. */
  wasReady: boolean;
  /** It said that it held no job any more. */
  drained: boolean;
  oom: OomEvidence | null;
  /** V8's last words on stderr. */
  heapOom: string | null;
  uncaught: UncaughtEvidence | null;
}

/**
 * - `released`, `quarantined`: put back in its queue, or failed for good because of its blame
 * - `handed-back`: put back by the process itself, before it left
 * - `finished`: was over before its process was; of a death that another master has recorded: was no longer its own
 * - `failed`: had been given up, past its time, and has failed
 * - `pending`: not known when the record was written
 */
export const JOB_OUTCOMES = [
  'released',
  'quarantined',
  'handed-back',
  'finished',
  'failed',
  'pending',
] as const;

export type JobOutcome = (typeof JOB_OUTCOMES)[number];

export interface DeathJob {
  queue: string;
  id: string;
  /** Empty where it is not known. */
  name: string;
  /** null: it began after the last beat, so that nobody knows when. */
  startedAtMs: number | null;
  outcome: JobOutcome;
  /** Deaths that it was present at, this one included; null: not looked at. */
  blame: Blame | null;
}

/** `[seconds before the death, RSS, PSS, heap used]`; null: not known. */
export type MemoryPoint = [
  secondsAgo: number,
  rssBytes: number | null,
  pssBytes: number | null,
  heapUsedBytes: number | null,
];

export interface DeathRecord {
  atMs: number;
  /** Of the process that died. */
  identity: string;
  /** Of its master. */
  master: string;
  host: string;
  tag: string;
  slot: number;
  group: string;
  pid: number;
  generation: number;
  cause: DeathCause;
  evidence: Evidence;
  code: number | null;
  signal: string | null;
  uptimeMs: number;
  /** As last measured, at most a second or so before. */
  rssBytes: number | null;
  pssBytes: number | null;
  heapUsedBytes: number | null;
  /** The last minute, oldest first. */
  memory: MemoryPoint[];
  jobs: DeathJob[];
  /** The last lines, oldest first. */
  stderr: string[];
  /** Native addons that it had loaded, or tried to: files. */
  addons: string[];
  /** The last dump of the block that it was killed for; null: there is none. */
  dump: DumpDigest | null;
  /** Version of Node. */
  node: string;
}

/** It left because its master wanted it to, and did not have to be killed: nothing that anybody must look at. */
export function isPlanned({
  cause,
  evidence,
}: {
  cause: DeathCause;
  evidence: Pick<Evidence, 'killedFor'>;
}): boolean {
  const isLeave = cause === 'stopped' || cause === 'rolled' || cause === 'recycled';
  return isLeave && evidence.killedFor === null;
}
