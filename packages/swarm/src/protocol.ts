/**
 * Every message between a master and its children, in one place. Messages travel over the IPC channel
 * of `child_process.fork` as JSON. An app may use `process.send` itself, so each of ours is wrapped in
 * an envelope under `swarm`: what has none is not ours and is ignored, what has one and is malformed is
 * rejected by the parsers below, which are the only way in.
 *
 * Written without a schema library: every child loads this file, and a child should cost little more
 * than the program that runs in it.
 */
import { type ActiveJob, isActiveJob } from './active-job.js';
import { MAX_BUCKET } from './duration-sketch.js';

export type { ActiveJob } from './active-job.js';

/** A BullMQ `Worker` that runs in a child, as much as anybody else needs to find its jobs. */
export interface WorkerInfo {
  /** BullMQ's queue name. */
  queue: string;
  /** BullMQ's key prefix, e.g. `bull`. */
  prefix: string;
  /** Every lock token of this Worker begins with it, e.g. `2f1c…:`. */
  tokenPrefix: string;
  /** Which Redis the queue is on: a hash of its address, no secret in it. */
  redisId: string;
  /** Missing where locks are not renewed, or nobody knows how. */
  lock?: LockTimes | undefined;
  /** Jobs of this queue at once in this child, at most. Missing: not said. */
  concurrency?: number | undefined;
}

/** How long a job's lock lasts, and how often it is renewed while the job runs. */
export interface LockTimes {
  durationMs: number;
  renewMs: number;
}

/** What a child says of itself once a second. Counters are since the child's start. */
export interface Beat {
  heapUsedBytes: number;
  heapLimitBytes: number;
  /** The longest delay of the event loop since the last beat, ms. */
  loopLagMs: number;
  /** Event loop utilisation since the last beat, 0 to 1. */
  elu: number;
  busy: number;
  concurrency: number;
  /** At most `MAX_LISTED_JOBS`, oldest first. */
  jobs: ActiveJob[];
  processed: number;
  failed: number;
  /** Jobs begun by each Worker; at most `MAX_LISTED_WORKERS`. */
  started: [tokenPrefix: string, jobs: number][];
}

/** Of more of them, a beat does not say how many jobs they began. */
export const MAX_LISTED_WORKERS = 200;

/** A beat lists no more jobs than this; `busy` counts all of them. */
export const MAX_LISTED_JOBS = 100;

/** Jobs that a dead child may have held on one queue, for a sibling to release. */
export interface Holding {
  queue: string;
  prefix: string;
  redisId: string;
  tokenPrefixes: string[];
  /** Jobs that the child last reported there: released too if their lock is gone. */
  jobIds: string[];
}

/** What runs of one kind of job left behind in a child, since it last said so. */
export interface JobGrowth {
  queue: string;
  name: string;
  /** Jobs ran at the same time, or too fast to be told apart. */
  approximate: boolean;
  runs: number;
  /** Bytes, of one run or the mean of some that followed each other; at most `MAX_GROWTH_VALUES`. */
  values: number[];
}

/** How long completed jobs of one kind have taken in a child, since it last said so. */
export interface JobDurationCounts {
  queue: string;
  name: string;
  /** Bucket of `duration-sketch.ts`, and how many. */
  counts: [bucket: number, count: number][];
}

/** No choice of job names makes a child's report longer than this. */
export const MAX_JOB_KINDS = 100;
export const MAX_GROWTH_VALUES = 128;

export interface JobRef {
  queue: string;
  id: string;
}

/** A run of a job that is past its time, and is neither waited for nor put back. */
export interface GivenUpJob extends JobRef {
  /** As its child has reported it: tells the runs of a job apart. */
  startedAtMs: number;
  /** What it fails with. */
  reason: string;
}

/** How a child died, for the blame of the jobs that it held. */
export interface DeathNotice {
  /** The dead child's identity: one death is never counted twice. */
  id: string;
  /** One word, as in the log: `oom-kill`, `signal` … */
  cause: string;
  /** What the exit said besides, `SIGKILL` or `code 3`; may be empty. */
  detail: string;
  /** Epoch ms. */
  atMs: number;
  /** Jobs in its hands that it had not begun: they waited for their turn to run alone. */
  waiting: JobRef[];
  /** The job that a dump or the error itself names; null: none does. */
  pinned: JobRef | null;
  /** Jobs that fail now, an attempt charged; missing: none. */
  givenUp?: GivenUpJob[];
  /** Others of its jobs were put back before; missing: none were. */
  isPartlySwept?: boolean;
}

/** Deaths that a job was present at. */
export interface Blame {
  exact: number;
  shared: number;
}

/** What became of one job of a dead child. */
export interface ReleasedJob extends JobRef {
  name: string;
  /** `failed`: it had been given up. `finished`: it was no longer the dead child's when the releaser came to it. */
  outcome: 'released' | 'quarantined' | 'failed' | 'finished';
  /** null: not looked at, because it was finished. */
  blame: Blame | null;
}

/** Locks of a living child's Worker that it cannot renew itself. */
export interface LockHolding {
  queue: string;
  prefix: string;
  redisId: string;
  tokenPrefix: string;
  /** What they are extended to. */
  durationMs: number;
}

/** Jobs that children of a lost host may hold on one queue. */
export interface LostHolding {
  queue: string;
  prefix: string;
  redisId: string;
  tokens: LostToken[];
  /** Jobs that the host was last known to hold there: taken too if their lock is gone. */
  jobIds: string[];
}

export interface LostToken {
  prefix: string;
  /**
   * A lock with less time left than that has missed a renewal. 0: only one that has run out. null: none, whatever
   * it says.
   */
  takeBelowMs: number | null;
}

/** A lost host's job whose lock may still be renewed. */
export interface WaitingJob {
  id: string;
  /** When its lock would have missed a renewal, or less, ms from now. */
  takeInMs: number;
}

/** A Worker that begins no job although it has room, and jobs wait. */
export interface NotConsuming {
  queue: string;
  prefix: string;
  redisId: string;
  /** Jobs; null: its Redis does not answer, so that it cannot know. */
  waiting: number | null;
  forMs: number;
  /** Of its fetcher, in a line. */
  state: string;
}

export interface QueueTimeout {
  queue: string;
  timeoutMs: number | null;
}
/** What may be taken of a child while it runs. */
export type CaptureKind = 'profile' | 'heap';

export type MasterMessage =
  | { type: 'quiet' }
  | { type: 'resume' }
  /**
   * Drain for so long, hand back what is unfinished, run close hooks, exit. A second one shortens the first. With
   * jobs `givenUp` that still run then: leave these, say so, and wait for the kill.
   */
  | { type: 'stop'; drainTimeoutMs: number; givenUp?: GivenUpJob[] }
  /** Its time is up, and it may still settle by itself. */
  | { type: 'abortJob'; job: GivenUpJob }
  | {
      type: 'release';
      releaseId: string;
      holdings: Holding[];
      /** null: nobody is to be blamed for it. */
      death: DeathNotice | null;
      /** Exact deaths at which a job is failed for good; null: never. */
      quarantineAfter: number | null;
      /** The dead child used limiters, and may hold leases of them. */
      usesLimits: boolean;
    }
  | { type: 'sweep'; sweepId: string; holding: LostHolding }
  /** Of the sibling `owner`, whose loop does not turn. */
  | { type: 'extendLocks'; owner: string; holdings: LockHolding[] }
  | { type: 'lookAtQueue'; lookId: string; queue: string; prefix: string; redisId: string }
  /** Take a CPU profile of so long, or a heap snapshot, to a file. */
  | { type: 'capture'; captureId: string; kind: CaptureKind; forMs: number }
  /** Nobody waits for it any more. */
  | { type: 'withdrawCapture'; captureId: string };

export type ChildMessage =
  | { type: 'workerStarted'; worker: WorkerInfo }
  /** It was closed, and holds no job any more. */
  | { type: 'workerEnded'; worker: WorkerInfo }
  | { type: 'ready'; bullmqVersion: string | null; concurrency: number; canRelease: boolean }
  | { type: 'beat'; beat: Beat }
  /** Of the queues of a swarm app that have a timeout of their own; null: none at all. */
  | { type: 'jobTimeouts'; queues: QueueTimeout[] }
  /** Jobs in its hands that wait for their turn to run alone; said at each change. */
  | { type: 'waiting'; jobs: JobRef[] }
  | { type: 'jobMemory'; kinds: JobGrowth[] }
  | { type: 'jobDurations'; kinds: JobDurationCounts[] }
  /** The app could not be loaded, or an error nobody caught ends the child. */
  | {
      type: 'uncaught';
      phase: 'boot' | 'run';
      message: string;
      stack: string;
      /** What the master was told to run cannot be run: another try ends the same way. */
      isUsage?: boolean | undefined;
      /** The program ran to its end without an error: without a Worker, another try ends the same way. */
      ranToEnd?: boolean;
      /** Whose code threw it, if that is known. */
      job?: JobRef;
    }
  /** To a `release`: about to move these, with what is to become of each. Whoever hears no more of it still knows that. */
  | { type: 'releasing'; releaseId: string; jobs: ReleasedJob[] }
  /** Answer to `release`. `unserved` names queues of the request that no Worker here serves. */
  | { type: 'released'; releaseId: string; jobs: ReleasedJob[]; unserved: string[]; error: string | null }
  /** Not ready yet, and a Worker says why, or may: the error of its connection. Said when it changes. */
  | { type: 'bootTrouble'; message: string }
  /** Limiters are used here from now on. */
  | { type: 'limitsUsed' }
  /** Leases of a dead child, freed with its release. */
  | { type: 'leasesFreed'; owner: string; leases: number; error: string | null }
  /** Answer to `sweep`. */
  | {
      type: 'swept';
      sweepId: string;
      served: boolean;
      released: string[];
      waiting: WaitingJob[];
      error: string | null;
    }
  /** Said at most once in half a minute. */
  | { type: 'notConsuming'; alarm: NotConsuming }
  /** Answer to `lookAtQueue`: how many jobs could be fetched; null: not known. */
  | { type: 'queueSeen'; lookId: string; waiting: number | null }
  /** Answer to `extendLocks`. */
  | { type: 'locksExtended'; owner: string; extended: number; unserved: string[]; error: string | null }
  /** Answers to `capture`: it is on its way into this file; it is done, or why not. */
  | { type: 'captureBegun'; captureId: string; file: string }
  | { type: 'captured'; captureId: string; file: string | null; bytes: number; error: string | null }
  | { type: 'draining'; busy: number }
  /**
   * Nothing is held any more (unless `error` says why); close hooks run now, then the child exits. `left`: but for
   * these, which were given up; the child waits for its kill.
   */
  | { type: 'drained'; handedBack: ActiveJob[]; error: string | null; left?: JobRef[] }
  /** Said before the addon's code runs: loading it may be what kills. */
  | { type: 'addonLoaded'; file: string }
  | { type: 'log'; level: 'debug' | 'info' | 'warn' | 'error'; message: string };

/** The envelope; see the file comment. */
export interface Envelope<M> {
  swarm: M;
}

export function wrap<M extends MasterMessage | ChildMessage>(message: M): Envelope<M> {
  return { swarm: message };
}

/** `foreign`: not ours. `malformed`: ours by its envelope, but not a message we know. */
export type Parsed<M> =
  | { kind: 'message'; message: M }
  | { kind: 'foreign' }
  | { kind: 'malformed'; why: string };

export function parseMasterMessage(raw: unknown): Parsed<MasterMessage> {
  return parse(raw, MASTER_FIELDS);
}

export function parseChildMessage(raw: unknown): Parsed<ChildMessage> {
  return parse(raw, CHILD_FIELDS);
}

type Check = (value: unknown) => boolean;
type Fields<M extends { type: string }> = {
  [T in M['type']]: { [F in Exclude<keyof Extract<M, { type: T }>, 'type'>]-?: Check };
};

const isString: Check = (value) => typeof value === 'string';
const isCount: Check = (value) => typeof value === 'number' && Number.isFinite(value) && value >= 0;
const isNumber: Check = (value) => typeof value === 'number' && Number.isFinite(value);
const isBoolean: Check = (value) => typeof value === 'boolean';
const nullOr =
  (check: Check): Check =>
  (value) =>
    value === null || check(value);
const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);
const oneOf =
  (...words: string[]): Check =>
  (value) =>
    typeof value === 'string' && words.includes(value);
const listOf =
  (check: Check, maxLength = Number.POSITIVE_INFINITY): Check =>
  (value) =>
    Array.isArray(value) && value.length <= maxLength && value.every(check);
const record =
  (fields: Record<string, Check>): Check =>
  (value) =>
    isRecord(value) && Object.entries(fields).every(([name, check]) => check(value[name]));

const isLockTimes = record({ durationMs: isCount, renewMs: isCount });
const isWorkerInfo = record({
  queue: isString,
  prefix: isString,
  tokenPrefix: isString,
  redisId: isString,
  lock: optional(isLockTimes),
  concurrency: optional(isCount),
});
const isStarted: Check = (value) => {
  return Array.isArray(value) && value.length === 2 && isString(value[0]) && isCount(value[1]);
};
const isBucketCount: Check = (value) => {
  if (!Array.isArray(value) || value.length !== 2) return false;
  const [bucket, count] = value as unknown[];
  const isBucket = Number.isInteger(bucket) && (bucket as number) >= 0 && (bucket as number) <= MAX_BUCKET;
  return isBucket && Number.isSafeInteger(count) && (count as number) > 0;
};
const isJobRef = record({ queue: isString, id: isString });
const isReleasedJob = record({
  queue: isString,
  id: isString,
  name: isString,
  outcome: oneOf('released', 'quarantined', 'failed', 'finished'),
  blame: nullOr(record({ exact: isCount, shared: isCount })),
});
const isGivenUpJob = record({ queue: isString, id: isString, startedAtMs: isCount, reason: isString });

const MASTER_FIELDS: Fields<MasterMessage> = {
  quiet: {},
  resume: {},
  stop: { drainTimeoutMs: isCount, givenUp: optional(listOf(isGivenUpJob)) },
  abortJob: { job: isGivenUpJob },
  release: {
    releaseId: isString,
    holdings: listOf(
      record({
        queue: isString,
        prefix: isString,
        redisId: isString,
        tokenPrefixes: listOf(isString),
        jobIds: listOf(isString),
      }),
    ),
    death: nullOr(
      record({
        id: isString,
        cause: isString,
        detail: isString,
        atMs: isCount,
        waiting: listOf(isJobRef),
        pinned: nullOr(isJobRef),
        givenUp: optional(listOf(isGivenUpJob)),
        isPartlySwept: optional(isBoolean),
      }),
    ),
    quarantineAfter: nullOr(isCount),
    usesLimits: isBoolean,
  },
  sweep: {
    sweepId: isString,
    holding: record({
      queue: isString,
      prefix: isString,
      redisId: isString,
      tokens: listOf(record({ prefix: isString, takeBelowMs: nullOr(isCount) })),
      jobIds: listOf(isString),
    }),
  },
  lookAtQueue: { lookId: isString, queue: isString, prefix: isString, redisId: isString },
  extendLocks: {
    owner: isString,
    holdings: listOf(
      record({
        queue: isString,
        prefix: isString,
        redisId: isString,
        tokenPrefix: isString,
        durationMs: isCount,
      }),
    ),
  },
  capture: { captureId: isString, kind: oneOf('profile', 'heap'), forMs: isCount },
  withdrawCapture: { captureId: isString },
};

const CHILD_FIELDS: Fields<ChildMessage> = {
  workerStarted: { worker: isWorkerInfo },
  workerEnded: { worker: isWorkerInfo },
  ready: { bullmqVersion: nullOr(isString), concurrency: isCount, canRelease: isBoolean },
  beat: {
    beat: record({
      heapUsedBytes: isCount,
      heapLimitBytes: isCount,
      loopLagMs: isCount,
      elu: isCount,
      busy: isCount,
      concurrency: isCount,
      jobs: (value) => Array.isArray(value) && value.length <= MAX_LISTED_JOBS && value.every(isActiveJob),
      processed: isCount,
      failed: isCount,
      started: listOf(isStarted, MAX_LISTED_WORKERS),
    }),
  },
  jobTimeouts: { queues: listOf(record({ queue: isString, timeoutMs: nullOr(isCount) })) },
  waiting: { jobs: listOf(isJobRef) },
  jobMemory: {
    kinds: listOf(
      record({
        queue: isString,
        name: isString,
        approximate: isBoolean,
        runs: isCount,
        values: listOf(isNumber, MAX_GROWTH_VALUES),
      }),
      MAX_JOB_KINDS,
    ),
  },
  jobDurations: {
    kinds: listOf(
      record({ queue: isString, name: isString, counts: listOf(isBucketCount, MAX_BUCKET + 1) }),
      MAX_JOB_KINDS,
    ),
  },
  uncaught: {
    phase: oneOf('boot', 'run'),
    message: isString,
    stack: isString,
    isUsage: optional(isBoolean),
    ranToEnd: optional(isBoolean),
    job: optional(isJobRef),
  },
  releasing: { releaseId: isString, jobs: listOf(isReleasedJob) },
  released: {
    releaseId: isString,
    jobs: listOf(isReleasedJob),
    unserved: listOf(isString),
    error: nullOr(isString),
  },
  bootTrouble: { message: isString },
  limitsUsed: {},
  leasesFreed: { owner: isString, leases: isCount, error: nullOr(isString) },
  swept: {
    sweepId: isString,
    served: isBoolean,
    released: listOf(isString),
    waiting: listOf(record({ id: isString, takeInMs: isCount })),
    error: nullOr(isString),
  },
  notConsuming: {
    alarm: record({
      queue: isString,
      prefix: isString,
      redisId: isString,
      waiting: nullOr(isCount),
      forMs: isCount,
      state: isString,
    }),
  },
  queueSeen: { lookId: isString, waiting: nullOr(isCount) },
  locksExtended: {
    owner: isString,
    extended: isCount,
    unserved: listOf(isString),
    error: nullOr(isString),
  },
  captureBegun: { captureId: isString, file: isString },
  captured: { captureId: isString, file: nullOr(isString), bytes: isCount, error: nullOr(isString) },
  draining: { busy: isCount },
  drained: {
    handedBack: listOf(isActiveJob),
    error: nullOr(isString),
    left: optional(listOf(isJobRef)),
  },
  addonLoaded: { file: isString },
  log: { level: oneOf('debug', 'info', 'warn', 'error'), message: isString },
};

function parse<M extends { type: string }>(
  raw: unknown,
  types: Record<string, Record<string, Check>>,
): Parsed<M> {
  if (!isRecord(raw) || !Object.hasOwn(raw, 'swarm')) return { kind: 'foreign' };
  const body = raw['swarm'];
  if (!isRecord(body) || typeof body['type'] !== 'string') return { kind: 'malformed', why: 'no type' };
  const fields = Object.hasOwn(types, body['type']) ? types[body['type']] : undefined;
  if (!fields) return { kind: 'malformed', why: `unknown type ${JSON.stringify(body['type'].slice(0, 40))}` };
  for (const [name, check] of Object.entries(fields)) {
    if (!check(body[name])) return { kind: 'malformed', why: `${body['type']}.${name}` };
  }
  return { kind: 'message', message: body as unknown as M };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
