/**
 * Takes a dump, in the watchdog thread. Three samples of the stack, 40 ms apart, tell a loop that goes on from
 * one that stands; if the first does not come in half a second, the main thread is in native code, and
 * the kernel says what it can of it. The question stays queued then, and is answered as soon as the call returns: that
 * stack names the caller, and follows as a dump of its own.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { DumpJob, DumpKind, Findings, Frame, Heap, NativeSide } from '../dump.js';
import { readNativeSide, readStartedProcesses, readThreadCpu } from '../process/native-side.js';
import type { BlockKind } from '../watchdog-protocol.js';
import { CONTEXT_EXPRESSION, type MainContext, OWN_SOURCE, STACK_EXPRESSION } from './dump-context.js';
import { type BoardMemory, readJobBoard } from './job-board.js';
import { MainInspector } from './main-inspector.js';
import { SourceMaps } from './source-maps.js';
import { ownerOf, parseStack, pathOf } from './stack-trace.js';

const SAMPLES = 3;
const BETWEEN_MS = 40;
/** In which a main thread that can be interrupted answers; commonly after a few. */
const ANSWER_MS = 500;
/** After this, one that sleeps in the kernel, or has computed all the time, is not waited for any longer. */
const SOON_MS = 200;
const CONTEXT_MS = 300;
/** How much CPU a thread has that is not starved, of the time. */
const STARVED_BELOW = 0.3;
const BUSY_ABOVE = 0.7;
/** The kernel counts CPU time in steps of 10 ms. */
const MEASURED_MS = 100;
const MAX_FRAMES = 64;
const FULL_HEAP = 0.7;

export interface TakerParts {
  board: BoardMemory;
  /** Of this package: its frames are not the app's. */
  ownRoot: string;
  /** What the loop is known to do now; null: it turns. */
  loop: () => BlockKind | null;
  /** The stack that a native call had, as soon as it has returned. */
  onReturn: (findings: Findings) => void;
}

interface Cpu {
  atMs: number;
  cpuMs: number;
}

export class DumpTaker {
  readonly #parts: TakerParts;
  /** Its question waits for a native call to return. */
  #waiting: MainInspector | null = null;

  constructor(parts: TakerParts) {
    this.#parts = parts;
  }

  async take(): Promise<Findings> {
    const startMs = performance.now();
    const before = cpuNow();
    const found = await this.#look(before);
    const processes = readStartedProcesses(process.pid);
    const native = withCpu(readNativeSide(process.pid, processes), before);
    const kind = found.kind === 'native' && isStarved(native) ? 'starved' : found.kind;
    if (kind !== 'native') this.#stopWaiting();
    return { ...found, kind, native, processes, tookMs: Math.round(performance.now() - startMs) };
  }

  async #look(before: Cpu | null): Promise<Findings> {
    const jobs = readJobBoard(this.#parts.board);
    const loop = this.#parts.loop();
    if (loop === 'debugger') return { ...nothing('debugger', jobs), notes: ['a debugger is attached'] };
    // nothing else is answered either, until what it is in returns
    if (this.#waiting) {
      await delay(MEASURED_MS);
      return nothing('native', jobs);
    }
    const inspector = new MainInspector();
    const first = inspector.evaluate(STACK_EXPRESSION);
    const soon = await within(first, SOON_MS);
    const answer = soon ?? (isNativeForSure(before) ? null : await within(first, ANSWER_MS - SOON_MS));
    if (answer === null) {
      this.#awaitReturn(inspector, first, jobs);
      return nothing('native', jobs);
    }
    try {
      return await this.#sample(inspector, answer, jobs, loop);
    } finally {
      inspector.close();
    }
  }

  async #sample(
    inspector: MainInspector,
    first: string,
    jobs: DumpJob[],
    loop: BlockKind | null,
  ): Promise<Findings> {
    const texts = [first];
    while (loop !== null && texts.length < SAMPLES) {
      await delay(BETWEEN_MS);
      const text = await within(inspector.evaluate(STACK_EXPRESSION), ANSWER_MS);
      if (text === null) break;
      texts.push(text);
    }
    const context = parseContext(await within(inspector.evaluate(CONTEXT_EXPRESSION), CONTEXT_MS));
    let stacks = texts.map((text) => this.#framesOf(text));
    if (loop !== null && !stacks.some(hasForeignFrame)) {
      const paused = await this.#pause(inspector);
      if (paused) stacks = [paused];
    }
    const best = stacks.find(hasForeignFrame) ?? [];
    const kind: DumpKind = loop === null ? 'turning' : 'javascript';
    return {
      ...nothing(kind, jobs),
      ...stackFacts(best, stacks),
      ...contextFacts(context, jobs, loop !== null),
    };
  }

  async #pause(inspector: MainInspector): Promise<Frame[] | null> {
    const frames = await inspector.pause(ANSWER_MS);
    return (
      frames &&
      this.#mapped(
        frames.map(({ function: name, url, line, column }) => {
          const file = url === '' ? null : pathOf(url);
          return {
            function: name,
            file,
            line,
            column,
            isAsync: false,
            owner: ownerOf(file, this.#parts.ownRoot),
          };
        }),
      )
    );
  }

  /** Without what evaluated it. */
  #framesOf(text: string): Frame[] {
    return this.#mapped(parseStack(text, this.#parts.ownRoot).filter(({ file }) => file !== OWN_SOURCE));
  }

  #mapped(frames: readonly Frame[]): Frame[] {
    const maps = new SourceMaps(this.#parts.ownRoot);
    return frames.slice(0, MAX_FRAMES).map((frame) => maps.toSource(frame));
  }

  #awaitReturn(inspector: MainInspector, first: Promise<string>, jobs: DumpJob[]): void {
    this.#waiting = inspector;
    first.then(
      (text) => {
        if (this.#waiting !== inspector) return;
        this.#stopWaiting();
        const stack = this.#framesOf(text);
        if (!hasForeignFrame(stack)) return;
        const facts = { ...nothing('native', jobs), ...stackFacts(stack, [stack]) };
        this.#parts.onReturn({ ...facts, isAfterBlock: true, job: onlyOne(jobs) });
      },
      () => {},
    );
  }

  #stopWaiting(): void {
    this.#waiting?.close();
    this.#waiting = null;
  }
}

function nothing(kind: DumpKind, jobs: DumpJob[]): Findings {
  return {
    kind,
    stack: [],
    tops: [],
    samples: 0,
    isMoving: null,
    isAfterBlock: false,
    job: kind === 'native' ? onlyOne(jobs) : null,
    jobs,
    native: null,
    processes: [],
    io: [],
    resources: {},
    heap: null,
    elu: null,
    workerThreads: 0,
    notes: [],
    tookMs: 0,
  };
}

function stackFacts(
  best: Frame[],
  stacks: Frame[][],
): Pick<Findings, 'stack' | 'tops' | 'samples' | 'isMoving'> {
  const texts = new Set(stacks.map((stack) => JSON.stringify(stack)));
  const tops = new Map(stacks.flatMap(([top]) => (top ? [[JSON.stringify(top), top]] : [])));
  return {
    stack: best,
    tops: [...tops.values()],
    samples: stacks.length,
    isMoving: stacks.length < 2 ? null : texts.size > 1,
  };
}

/** The job is known where the running code says whose it is, or where it is the only one. */
function contextFacts(context: MainContext | null, jobs: DumpJob[], isBlocked: boolean): Partial<Findings> {
  if (!context) return { job: onlyOne(jobs) };
  const { io, resources, heap, elu, workerThreads, current, knowsCurrent } = context;
  const running = current && jobs.find(({ queue, id }) => queue === current.queue && id === current.id);
  const job = isBlocked && knowsCurrent ? (running ?? null) : onlyOne(jobs);
  const notes = isBlocked ? heapNotes(heap) : [];
  return { io, resources, heap, elu, workerThreads, notes, job };
}

/** A loop that seems to compute may be one that V8 hardly lets run. */
function heapNotes({ usedBytes, limitBytes }: Heap): string[] {
  const percent = Math.round((100 * usedBytes) / limitBytes);
  return percent < 100 * FULL_HEAP
    ? []
    : [`the heap is ${percent} % full: V8 may spend most of the time on collecting garbage`];
}

function onlyOne(jobs: DumpJob[]): DumpJob | null {
  return jobs.length === 1 ? (jobs[0] ?? null) : null;
}

/** Node's own frames alone show no more than that its loop is somewhere. */
function hasForeignFrame(frames: readonly Frame[]): boolean {
  return frames.some(({ owner, isAsync }) => owner !== 'node' && !isAsync);
}

function parseContext(text: string | null): MainContext | null {
  try {
    return text === null ? null : (JSON.parse(text) as MainContext);
  } catch {
    // the app has put something else there
    return null;
  }
}

function cpuNow(): Cpu | null {
  const cpu = readThreadCpu(process.pid, process.pid);
  return cpu && { atMs: performance.now(), cpuMs: cpu.cpuMs };
}

function withCpu(native: NativeSide | null, before: Cpu | null): NativeSide | null {
  const share = cpuShareSince(before);
  return native && share !== null ? { ...native, cpuPercent: Math.round(100 * share) } : native;
}

/** null: the time is too short to tell, or the kernel does not say. */
function cpuShareSince(before: Cpu | null): number | null {
  const after = cpuNow();
  if (!before || !after || after.atMs - before.atMs < MEASURED_MS / 2) return null;
  return Math.min(1, (after.cpuMs - before.cpuMs) / (after.atMs - before.atMs));
}

/** It did not answer, and not because it had no CPU. */
function isNativeForSure(before: Cpu | null): boolean {
  const state = readThreadCpu(process.pid, process.pid)?.state;
  const share = cpuShareSince(before);
  if (state === undefined || share === null) return false;
  return state === 'R' ? share > BUSY_ABOVE : true;
}

/** Ready to run, and kept from it. */
function isStarved(native: NativeSide | null): boolean {
  return native?.state === 'R' && native.cpuPercent !== null && native.cpuPercent < 100 * STARVED_BELOW;
}

/** null: not in time; the promise may still settle. */
async function within<T>(promise: Promise<T>, timeMs: number): Promise<T | null> {
  const timer = new AbortController();
  const late = delay(timeMs, null, { signal: timer.signal }).catch(() => null);
  try {
    return await Promise.race([promise, late]);
  } catch {
    // the session has ended
    return null;
  } finally {
    timer.abort();
  }
}
