/**
 * Dumps of children: asks the watchdog, looks from outside where that cannot answer, completes what came with
 * what the master knows, and brings it to the log and the registry. Of each child whose loop still stands it
 * keeps the newest, for the record of its death and for the blame of its job.
 *
 * One at a time of each child: who asks while one is taken gets that one.
 */
import { randomUUID } from 'node:crypto';
import {
  type DumpDigest,
  type DumpJob,
  type DumpRecord,
  type DumpTrigger,
  type Findings,
  frameText,
  ioText,
  whereItHangs,
} from '../dump.js';
import type { Logger } from '../log.js';
import type { ChildHandle } from '../process/child-handle.js';
import { readNativeSide, readStartedProcesses } from '../process/native-side.js';
import { readStat } from '../process/proc.js';
import type { WatchdogPipe } from '../process/watchdog-pipe.js';
import type { JobRef } from '../protocol.js';
import { decodeFindings } from '../registry/decode-dump.js';
import type { DumpStream } from '../registry/dump-stream.js';
import type { MasterInfo } from '../registry/schema.js';
import type { Block } from '../supervisor/stuck.js';
import type { WatchdogMessage } from '../watchdog-protocol.js';
import { publishedOf } from './dump-details.js';
import { names, where } from './narrator.js';
import { originOf } from './origin.js';

/** A watchdog that has not answered by then does not run. */
const ANSWER_MS = 2_000;
const DIGEST_FRAMES = 16;
const DIGEST_IO = 5;
/** In a log line. */
const SHOWN_IO = 2;
/** Asked for by somebody who wants to look: no trouble by itself. */
const CURIOUS: ReadonlySet<DumpTrigger> = new Set(['signal', 'command']);

/** What is asked of a child that is dumped. */
export interface Dumped
  extends Pick<
    ChildHandle,
    'identity' | 'pid' | 'slot' | 'group' | 'generation' | 'jobs' | 'sawJobs' | 'beat'
  > {
  watchdog: Pick<WatchdogPipe, 'send'> | null;
}

export interface DumpsParts {
  info: MasterInfo;
  log: Logger;
  stream: Pick<DumpStream, 'add' | 'retry'>;
  clockOffsetMs: () => number;
  blockOf: (identity: string) => Block | undefined;
  /** Command lines and URLs are published as they are. */
  details: boolean;
}

interface DumpOrder {
  id: string;
  trigger: DumpTrigger;
  /** The job that has not ended in its time. */
  about: JobRef | null;
  notes: readonly string[];
  /** When it was asked for. */
  blockedMs: number;
}

interface Underway {
  dumpId: string;
  settle: (findings: Findings | null) => void;
  /** null: the child has ended before. */
  done: Promise<DumpRecord | null>;
}

export class Dumps {
  readonly #parts: DumpsParts;
  /** By the child's identity. */
  readonly #underway = new Map<string, Underway>();
  /** By the child's identity. */
  readonly #latest = new Map<string, { record: DumpRecord; takenAtMs: number }>();

  constructor(parts: DumpsParts) {
    this.#parts = parts;
  }

  /**
   * Never rejects; takes 2 s and a little at most.
   *
   * @param about the job that has not ended in its time
   * @param notes what else is known
   * @returns null: the child ended before
   */
  request(
    child: Dumped,
    trigger: DumpTrigger,
    about: JobRef | null = null,
    notes: readonly string[] = [],
  ): Promise<DumpRecord | null> {
    const joined = this.#underway.get(child.identity);
    if (joined) return joined.done;
    const dumpId = randomUUID();
    let settle: (findings: Findings | null) => void = () => {};
    const answered = new Promise<Findings | null>((resolve) => {
      settle = resolve;
    });
    const blockedMs = Math.round(this.#parts.blockOf(child.identity)?.blockedMs ?? 0);
    const done = this.#take(child, { trigger, about, notes, blockedMs, id: dumpId }, answered);
    this.#underway.set(child.identity, { dumpId, settle, done });
    return done;
  }

  hear(child: Dumped, message: Extract<WatchdogMessage, { type: 'dump' | 'returned' }>): void {
    const findings = decodeFindings(message.findings);
    if (message.type === 'returned') {
      const blockedMs = this.#latest.get(child.identity)?.record.blockedMs ?? 0;
      const order: DumpOrder = { id: randomUUID(), trigger: 'stuck', about: null, notes: [], blockedMs };
      if (findings) void this.#keep(this.#complete(child, order, findings), child);
      return;
    }
    const underway = this.#underway.get(child.identity);
    if (underway?.dumpId === message.dumpId) underway.settle(findings ?? outside(child, 'it cannot be read'));
  }

  /** The newest of the block that goes on; null: there is none. */
  latest(identity: string): DumpRecord | null {
    const block = this.#parts.blockOf(identity);
    const latest = this.#latest.get(identity);
    // what was seen before the loop turned again explains nothing of what comes
    return block && latest && latest.takenAtMs >= block.sinceMs ? latest.record : null;
  }

  /** Each second. */
  look(): void {
    void this.#parts.stream.retry();
  }

  forget({ identity }: Pick<ChildHandle, 'identity'>): void {
    this.#underway.get(identity)?.settle(null);
    this.#latest.delete(identity);
  }

  async #take(
    child: Dumped,
    order: DumpOrder,
    answered: Promise<Findings | null>,
  ): Promise<DumpRecord | null> {
    const findings = await this.#ask(child, answered, order.id);
    this.#underway.delete(child.identity);
    if (!findings) return null;
    child.sawJobs(findings.jobs);
    const record = this.#complete(child, order, findings);
    await this.#keep(record, child);
    return record;
  }

  async #ask(child: Dumped, answered: Promise<Findings | null>, dumpId: string): Promise<Findings | null> {
    if (!child.watchdog) return outside(child, 'no watchdog thread (--no-watchdog): seen from outside alone');
    if (readStat(child.pid)?.state === 'T') return outside(child, null);
    child.watchdog.send({ type: 'dump', dumpId });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), ANSWER_MS);
    });
    const first = await Promise.race([answered, late]);
    clearTimeout(timer);
    return first === 'late' ? outside(child, 'its watchdog does not answer: seen from outside alone') : first;
  }

  #complete(child: Dumped, { about, notes, ...order }: DumpOrder, findings: Findings): DumpRecord {
    const { info, clockOffsetMs, details } = this.#parts;
    const offsetMs = clockOffsetMs();
    const shifted = (job: DumpJob): DumpJob => ({ ...job, startedAtMs: job.startedAtMs + offsetMs });
    const overdue = about && findings.jobs.find(({ queue, id }) => queue === about.queue && id === about.id);
    const isJobs = findings.kind === 'turning' && overdue;
    const job = isJobs ? overdue : findings.job;
    return {
      ...publishedOf({ ...findings, notes: [...findings.notes, ...notes] }, details),
      kind: isJobs ? 'job' : findings.kind,
      job: job && shifted(job),
      jobs: findings.jobs.map(shifted),
      ...order,
      atMs: Date.now() + offsetMs,
      ...originOf(info, child),
    };
  }

  async #keep(record: DumpRecord, child: Dumped): Promise<void> {
    this.#latest.set(child.identity, { record, takenAtMs: performance.now() });
    const level = CURIOUS.has(record.trigger) ? 'info' : 'warn';
    this.#parts.log[level]('dump', { ...where(child), ...dumpFields(record) });
    await this.#parts.stream.add(record);
  }
}

/** As much of it as a death's record keeps. */
export function digestOf(record: DumpRecord): DumpDigest {
  const { id, atMs, kind, trigger, blockedMs, isMoving, stack, job, native, io } = record;
  const [frames, pending] = [stack.slice(0, DIGEST_FRAMES), io.slice(0, DIGEST_IO)];
  return { id, atMs, kind, trigger, blockedMs, isMoving, stack: frames, job, native, io: pending };
}

/** The short form, for the log. */
export function dumpFields(record: DumpRecord): Record<string, string | number | boolean | undefined> {
  const { trigger, kind, blockedMs, isMoving, isAfterBlock, job, jobs, native, io, tops } = record;
  const hangsIn = whereItHangs(record);
  const candidates = job ? undefined : names(jobs);
  const top = isMoving ? tops.map(frameText).join(' | ') : undefined;
  const pending = io.filter(({ phase }) => phase !== 'open').slice(0, SHOWN_IO);
  return {
    trigger,
    kind,
    blocked: blockedMs > 0 ? `${blockedMs}ms` : undefined,
    in: hangsIn === '' ? undefined : hangsIn,
    after_return: isAfterBlock || undefined,
    moving: isMoving ?? undefined,
    tops: top?.slice(0, 400),
    job: job ? `${job.queue}/${job.id}` : undefined,
    name: job?.name,
    attempt: job?.attempt ?? undefined,
    candidates: candidates === '' ? undefined : candidates,
    syscall: kind === 'native' ? (native?.syscall ?? undefined) : undefined,
    target: kind === 'native' ? (native?.target ?? undefined) : undefined,
    command: native?.command ?? undefined,
    io: pending.length > 0 ? pending.map(ioText).join(', ') : undefined,
    note: record.notes.length > 0 ? record.notes.join('; ') : undefined,
  };
}

/** What can be seen of a process that says nothing itself. */
function outside(child: Dumped, note: string | null): Findings {
  const processes = readStartedProcesses(child.pid);
  const native = readNativeSide(child.pid, processes);
  const isStopped = native?.state === 'T';
  const jobs = child.jobs.map((job): DumpJob => ({ ...job, attempt: null }));
  return {
    kind: isStopped ? 'stopped' : native?.state === 't' ? 'debugger' : 'unseen',
    stack: [],
    tops: [],
    samples: 0,
    isMoving: null,
    isAfterBlock: false,
    job: null,
    jobs,
    native,
    processes,
    io: [],
    resources: {},
    heap: null,
    elu: child.beat?.elu ?? null,
    workerThreads: 0,
    notes: note === null ? [] : [note],
    tookMs: 0,
  };
}
