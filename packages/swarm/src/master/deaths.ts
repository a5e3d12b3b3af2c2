/**
 * Every end of a child: judged at once, because the log and the release want the cause, and recorded in
 * the registry when what became of its jobs is known. A record waits for a Redis that is away.
 */
import { type DeathRecord, isPlanned } from '../death.js';
import { type DumpRecord, whereItHangs } from '../dump.js';
import type { Logger } from '../log.js';
import { type ChildHandle, isDrained } from '../process/child-handle.js';
import { OomWitness } from '../process/evidence.js';
import { type Judgement, judge } from '../process/exit-cause.js';
import type { Sample } from '../process/memory.js';
import { MemoryCurve } from '../process/memory-curve.js';
import type { ChildMessage } from '../protocol.js';
import type { DeathStream } from '../registry/death-stream.js';
import type { MasterInfo } from '../registry/schema.js';
import type { Child } from '../supervisor/state.js';
import { DeathFile, type Deceased } from './death-file.js';
import { digestOf } from './dumps.js';

/** For the last of its stderr. */
const WRITE_AFTER_MS = 200;
/** A release that takes longer is not waited for. */
const WRITE_AT_LATEST_MS = 20_000;
/** Records that wait for Redis; beyond this the oldest are given up. */
const MAX_UNWRITTEN = 500;
/** Records on their way at once. */
const BATCH = 50;

export interface Death extends Judgement {
  /** As the kernel saw it at the kill, else as last measured. */
  rssBytes: number | null;
}

interface Life {
  bornAtMs: number;
  curve: MemoryCurve;
}

/** Also of a death that this master has not seen. */
type Draft = Pick<DeathFile, 'owner' | 'jobs' | 'record'>;

interface OpenFile {
  file: Draft;
  /** Its jobs are accounted for. */
  isSettled: boolean;
  /** Enough time has passed for its last words. */
  isRipe: boolean;
  timers: NodeJS.Timeout[];
}

export class Deaths {
  readonly #info: MasterInfo;
  readonly #log: Logger;
  readonly #stream: Pick<DeathStream, 'add'>;
  readonly #clockOffsetMs: () => number;
  readonly #witness = new OomWitness();
  /** By identity: those who live. */
  readonly #lives = new Map<string, Life>();
  /** By identity: those whose record is not complete. */
  readonly #open = new Map<string, OpenFile>();
  #unwritten: DeathRecord[] = [];
  #writing: Promise<void> = Promise.resolve();
  #givenUp = 0;
  /** It was said that records wait. */
  #isWaiting = false;

  constructor(parts: {
    info: MasterInfo;
    log: Logger;
    stream: Pick<DeathStream, 'add'>;
    clockOffsetMs: () => number;
  }) {
    this.#info = parts.info;
    this.#log = parts.log;
    this.#stream = parts.stream;
    this.#clockOffsetMs = parts.clockOffsetMs;
  }

  born({ identity, pid }: Pick<ChildHandle, 'identity' | 'pid'>): void {
    const bornAtMs = performance.now();
    this.#lives.set(identity, { bornAtMs, curve: new MemoryCurve() });
    this.#witness.look([pid], bornAtMs);
  }

  /** Each second. */
  look(
    children: Iterable<Pick<ChildHandle, 'identity' | 'pid' | 'beat'>>,
    samples: ReadonlyMap<number, Sample>,
  ): void {
    const nowMs = performance.now();
    const pids: number[] = [];
    for (const { identity, pid, beat } of children) {
      pids.push(pid);
      const sample = samples.get(pid);
      const { rssBytes = null, pssBytes = null } = sample ?? {};
      const heapUsedBytes = beat?.heapUsedBytes ?? null;
      this.#lives.get(identity)?.curve.push({ rssBytes, pssBytes, heapUsedBytes }, nowMs);
    }
    this.#witness.look(pids, nowMs);
    if (this.#unwritten.length > 0) void this.#write();
  }

  /**
   * @param told what the supervisor had told it
   * @param owes there are jobs to release
   */
  died(
    child: Deceased,
    told: Pick<Child, 'killedFor' | 'leavesFor'>,
    {
      sample,
      owes,
      dump = null,
      excess = null,
    }: {
      sample: Sample | undefined;
      owes: boolean;
      dump?: DumpRecord | null;
      /** The limit that it was over, with the figures. */
      excess?: string | null;
    },
  ): Death {
    const nowMs = performance.now();
    const { identity, pid, exit, uncaught } = child;
    const life = this.#lives.get(identity);
    // our own kill explains itself, and must not use up what explains another's death
    const isForeignKill = exit?.signal === 'SIGKILL' && told.killedFor === null;
    const oom = isForeignKill ? this.#witness.testify(pid, life?.bornAtMs ?? nowMs, nowMs) : null;
    this.#witness.forget(pid);
    this.#lives.delete(identity);
    const judgement = judge({
      code: exit?.code ?? null,
      signal: exit?.signal ?? null,
      killedFor: told.killedFor,
      leavesFor: told.leavesFor,
      wasReady: child.readyAtMs !== null,
      drained: isDrained(child),
      uncaught: uncaught && { phase: uncaught.phase, message: uncaught.message, stack: uncaught.stack },
      heapOom: child.heapOom,
      oom,
      addons: child.addons,
      bootTrouble: child.bootTrouble,
      hangsIn: dump ? whereItHangs(dump) : '',
      excess,
    });
    const { rssBytes = null, pssBytes = null } = sample ?? {};
    const memory = { rssBytes, pssBytes, points: life?.curve.points(nowMs) ?? [] };
    const file = new DeathFile(child, judgement, memory, dump && digestOf(dump));
    this.#keep(file, !owes);
    const atKillBytes = judgement.evidence.oom?.anonRssBytes ?? 0;
    return { ...judgement, rssBytes: atKillBytes > (rssBytes ?? 0) ? atKillBytes : rssBytes };
  }

  /** Of a child whose own master could not record it. */
  inherit(death: Draft, isSettled: boolean): void {
    this.#keep(death, isSettled);
  }

  releasing({ releaseId: owner, jobs }: Extract<ChildMessage, { type: 'releasing' }>): void {
    this.#open.get(owner)?.file.jobs.releasing(jobs);
  }

  released({ releaseId: owner, jobs, unserved, error }: Extract<ChildMessage, { type: 'released' }>): void {
    const open = this.#open.get(owner);
    if (!open || error !== null) return;
    open.file.jobs.released(jobs, unserved);
    // another may work for the queues that this one does not
    open.isSettled = unserved.length === 0;
    this.#close(open);
  }

  /** Whatever is known now is written now, within the time given. */
  async close(timeoutMs: number): Promise<void> {
    for (const open of this.#open.values()) this.#submit(open);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    await Promise.race([this.#write(), late]);
    clearTimeout(timer);
    this.#witness.close();
    if (this.#unwritten.length > 0) {
      this.#log.warn('death records are lost: Redis did not take them', { count: this.#unwritten.length });
    }
  }

  #keep(file: Draft, isSettled: boolean): void {
    const open: OpenFile = { file, isSettled, isRipe: false, timers: [] };
    const ripen = (): void => {
      open.isRipe = true;
      this.#close(open);
    };
    open.timers.push(
      setTimeout(ripen, WRITE_AFTER_MS),
      setTimeout(() => this.#submit(open), WRITE_AT_LATEST_MS),
    );
    this.#open.set(file.owner, open);
  }

  #close(open: OpenFile): void {
    if (open.isSettled && open.isRipe) this.#submit(open);
  }

  #submit({ file, timers }: OpenFile): void {
    for (const timer of timers) clearTimeout(timer);
    this.#open.delete(file.owner);
    this.#unwritten.push(file.record(this.#info, this.#clockOffsetMs()));
    if (this.#unwritten.length > MAX_UNWRITTEN) {
      this.#unwritten.shift();
      this.#givenUp += 1;
    }
    void this.#write();
  }

  /** Writes what there is, oldest first; what Redis does not take is tried again each second. */
  #write(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#writeAll());
    return this.#writing;
  }

  async #writeAll(): Promise<void> {
    while (this.#unwritten.length > 0) {
      const batch = this.#unwritten.slice(0, BATCH);
      const results = await Promise.allSettled(
        batch.map((record) => this.#stream.add(record, isPlanned(record))),
      );
      const failed = results.find((result) => result.status === 'rejected');
      const written = new Set(batch.filter((_, at) => results[at]?.status === 'fulfilled'));
      this.#unwritten = this.#unwritten.filter((record) => !written.has(record));
      if (failed) return this.#waits(failed.reason);
    }
    if (this.#givenUp > 0)
      this.#log.warn('death records were given up: too many waited for Redis', { count: this.#givenUp });
    this.#givenUp = 0;
    this.#isWaiting = false;
  }

  #waits(error: unknown): void {
    if (!this.#isWaiting)
      this.#log.warn('death records wait: Redis does not take them', { error: String(error) });
    this.#isWaiting = true;
  }
}
