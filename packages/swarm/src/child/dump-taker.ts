/**
 * Takes a dump, in the watchdog thread. A loop that may have stood still for a moment only is waited for: it ticks, or is
 * known to stand. Of one that stands, three samples of the stack, 40 ms apart, tell whether it runs on and on. If
 * the first does not come in half a second, the main thread is in native code, and the kernel says what it can of it.
 * The question stays queued then, and is answered as soon as the call returns: that stack names the caller, and follows
 * as a dump of its own.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { DumpJob, Findings, Frame } from '../dump.js';
import { readNativeSide, readStartedProcesses } from '../process/native-side.js';
import type { BlockKind } from '../watchdog-protocol.js';
import {
  CONTEXT_EXPRESSION,
  type MainContext,
  type MainSample,
  OWN_SOURCE,
  SAMPLE_EXPRESSION,
} from './dump-context.js';
import { contextFacts, hasForeignFrame, nothing, onlyOne, sameJob, stackFacts } from './dump-facts.js';
import type { StartedFor } from './io-watch.js';
import { type BoardMemory, readJobBoard } from './job-board.js';
import { type Cpu, cpuNow, whySilent, withCpu } from './main-cpu.js';
import { MainInspector } from './main-inspector.js';
import { SourceMaps } from './source-maps.js';
import { ownerOf, parseStack, pathOf } from './stack-trace.js';

const SAMPLES = 3;
const BETWEEN_MS = 40;
/** Taken besides where those have met only what lies between two callbacks. */
const MORE_SAMPLES = 12;
const SOON_AGAIN_MS = 5;
/** In which a main thread that can be interrupted answers, if it gets a CPU; commonly after a few. */
const ANSWER_MS = 500;
/** One that sleeps in the kernel, or has computed all the time, is not waited for any longer than this. */
const SOON_MS = 200;
/** One that is starved is asked again and again, for so many times. */
const PATIENCE = 4;
const CONTEXT_MS = 300;
/** From the question on: in which a loop has ticked that turns, or is known to stand. */
const SETTLED_MS = 1_000;
const SETTLE_LOOK_MS = 10;
/** In which it can be told how much CPU the main thread gets. */
const MEASURED_MS = 100;
const MAX_FRAMES = 64;

export interface TakerParts {
  board: BoardMemory;
  /** Of this package: its frames are not the app's. */
  ownRoot: string;
  /** What the loop is known to do now; null: it turned a moment ago. */
  loop: () => BlockKind | null;
  /** A count that goes on as long as the loop turns. */
  tick: () => number;
  /** The stack that a native call had, as soon as it has returned. */
  onReturn: (findings: Findings) => void;
}

export class DumpTaker {
  readonly #parts: TakerParts;
  /** Its question waits for a native call to return. */
  #waiting: MainInspector | null = null;
  /** Of the dump that is taken: who started which processes, as far as the main thread could be asked. */
  #started: readonly StartedFor[] = [];

  constructor(parts: TakerParts) {
    this.#parts = parts;
  }

  async take(): Promise<Findings> {
    const startMs = performance.now();
    const before = cpuNow();
    this.#started = [];
    const found = await this.#look(before);
    const processes = readStartedProcesses(process.pid).map((each) => {
      return { ...each, job: this.#started.find(({ pid }) => pid === each.pid)?.job ?? null };
    });
    const native = withCpu(readNativeSide(process.pid, processes), before);
    return { ...found, native, processes, tookMs: Math.round(performance.now() - startMs) };
  }

  async #look(before: Cpu | null): Promise<Findings> {
    const jobs = readJobBoard(this.#parts.board);
    const untilMs = performance.now() + SETTLED_MS;
    const loop = this.#parts.loop();
    const tick = this.#parts.tick();
    if (loop === 'debugger') return { ...nothing('debugger', jobs), notes: ['a debugger is attached'] };
    // nothing else is answered either, until what it is in returns
    if (this.#waiting) {
      await delay(MEASURED_MS);
      return nothing('native', jobs);
    }
    const inspector = new MainInspector();
    const first = inspector.evaluate(SAMPLE_EXPRESSION);
    let answer: string | null = null;
    let silence: 'native' | 'starved' = 'starved';
    for (let turn = 0; turn < PATIENCE && answer === null && silence === 'starved'; turn += 1) {
      answer = await within(first, SOON_MS);
      silence = whySilent(before);
    }
    if (answer === null && silence === 'starved') {
      inspector.close();
      return nothing('starved', jobs);
    }
    if (answer === null) {
      this.#awaitReturn(inspector, first, jobs);
      return nothing('native', jobs);
    }
    try {
      const isBlocked = (loop ?? (await this.#settled(tick, untilMs))) !== null;
      return await this.#sample(inspector, answer, jobs, isBlocked);
    } finally {
      inspector.close();
    }
  }

  async #sample(
    inspector: MainInspector,
    first: string,
    jobs: DumpJob[],
    isBlocked: boolean,
  ): Promise<Findings> {
    const context = parse<MainContext>(await within(inspector.evaluate(CONTEXT_EXPRESSION), CONTEXT_MS));
    this.#started = Array.isArray(context?.started) ? context.started : [];
    const needsJob = context?.knowsJob === true && jobs.length > 1;
    const samples = [this.#sampleOf(first)];
    const isTold = (): boolean =>
      samples.some(({ frames }) => hasForeignFrame(frames)) && (!needsJob || samples.some(({ job }) => job));
    const most = isBlocked ? SAMPLES + MORE_SAMPLES : 1;
    while (samples.length < most && (samples.length < SAMPLES || !isTold())) {
      await delay(samples.length < SAMPLES ? BETWEEN_MS : SOON_AGAIN_MS);
      const text = await within(inspector.evaluate(SAMPLE_EXPRESSION), ANSWER_MS);
      if (text === null) break;
      samples.push(this.#sampleOf(text));
    }
    const told = samples.filter(({ frames }) => hasForeignFrame(frames));
    const paused = isBlocked && told.length === 0 ? await this.#pause(inspector) : null;
    const stacks = paused ? [paused] : samples.map(({ frames }) => frames);
    const stack = paused ?? told[0]?.frames ?? [];
    const owner = samples.find(({ job }) => job)?.job ?? null;
    return {
      ...nothing(isBlocked ? 'javascript' : 'turning', jobs),
      ...stackFacts(stack, stacks),
      ...contextFacts(context, isBlocked),
      job: isBlocked && context?.knowsJob ? sameJob(jobs, owner) : onlyOne(jobs),
    };
  }

  /** What a loop does that had ticked so far when it was asked; null: it turns. */
  async #settled(tick: number, untilMs: number): Promise<BlockKind | null> {
    while (this.#parts.loop() === null && this.#parts.tick() === tick && performance.now() < untilMs)
      await delay(SETTLE_LOOK_MS);
    return this.#parts.loop();
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

  #sampleOf(text: string): { frames: Frame[]; job: DumpJob | null } {
    const sample = parse<MainSample>(text);
    const frames = parseStack(sample?.stack ?? '', this.#parts.ownRoot);
    // without what evaluated it
    return {
      frames: this.#mapped(frames.filter(({ file }) => file !== OWN_SOURCE)),
      job: sample?.job ?? null,
    };
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
        const { frames, job } = this.#sampleOf(text);
        if (!hasForeignFrame(frames)) return;
        const facts = { ...nothing('native', jobs), ...stackFacts(frames, [frames]) };
        this.#parts.onReturn({ ...facts, isAfterBlock: true, job: sameJob(jobs, job) ?? onlyOne(jobs) });
      },
      () => {},
    );
  }

  #stopWaiting(): void {
    this.#waiting?.close();
    this.#waiting = null;
  }
}

function parse<T>(text: string | null): T | null {
  try {
    return text === null ? null : (JSON.parse(text) as T);
  } catch {
    // nothing of ours: the app has no such place, or has put something else there
    return null;
  }
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
