/**
 * What only the main thread knows of itself, for the watchdog to ask: it evaluates a call of this, in an interrupt of
 * whatever runs. So nothing here waits, throws or changes anything.
 */
import { getHeapStatistics } from 'node:v8';
import type { Worker } from 'node:worker_threads';
import type { DumpJob, Heap, PendingIo } from '../dump.js';
import type { IoWatch, StartedFor } from './io-watch.js';
import type { JobContext } from './job-context.js';

const KEY = 'bullmq-swarm.dump';
const PLACE = `globalThis[Symbol.for(${JSON.stringify(KEY)})]`;
/** Marks frames of what the watchdog evaluates itself. */
export const OWN_SOURCE = 'swarm:watchdog';

/** An expression of `MainContext` as JSON. */
export const CONTEXT_EXPRESSION = `JSON.stringify(${PLACE}.describe())\n//# sourceURL=${OWN_SOURCE}`;

/**
 * An expression of `MainSample` as JSON. The program's own way of writing stacks is kept if it gives a text: it may
 * know sources that nobody else does.
 */
export const SAMPLE_EXPRESSION = `(() => {
  const { stackTraceLimit } = Error;
  const { prepareStackTrace } = Error;
  const job = ${PLACE}.currentJob();
  try {
    Error.stackTraceLimit = 64;
    let { stack } = new Error('stack');
    if (typeof stack !== 'string') {
      Error.prepareStackTrace = undefined;
      stack = String(new Error('stack').stack);
    }
    return JSON.stringify({ stack, job });
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
    if (Error.prepareStackTrace !== prepareStackTrace) Error.prepareStackTrace = prepareStackTrace;
  }
})()
//# sourceURL=${OWN_SOURCE}`;

export interface MainSample {
  stack: string;
  /** Whose code runs; null: nobody's, or it is not known. */
  job: DumpJob | null;
}

export interface MainContext {
  /** Whose code runs is known, if it is a job's. */
  knowsJob: boolean;
  io: PendingIo[];
  started: StartedFor[];
  resources: Record<string, number>;
  heap: Heap;
  elu: number | null;
  workerThreads: number;
}

export interface ContextParts {
  context: JobContext;
  io: IoWatch;
  /** Over the last beat. */
  elu: () => number | null;
  /** The watchdog: it is not the app's. */
  ownThread: Worker;
}

export function provideContext({ context, io, elu, ownThread }: ContextParts): void {
  const threads = new Set<Worker>();
  process.on('worker', (worker) => {
    if (worker === ownThread) return;
    threads.add(worker);
    worker.once('exit', () => threads.delete(worker));
  });
  const describe = (): MainContext => {
    const heap = getHeapStatistics();
    return {
      knowsJob: context.isKept,
      io: io.list(),
      started: io.started(),
      resources: countsOf(process.getActiveResourcesInfo()),
      heap: {
        usedBytes: heap.used_heap_size,
        limitBytes: heap.heap_size_limit,
        externalBytes: heap.external_memory,
      },
      elu: elu(),
      workerThreads: threads.size,
    };
  };
  const value = { describe, currentJob: () => context.current };
  Object.defineProperty(globalThis, Symbol.for(KEY), { value });
}

function countsOf(words: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1;
  return counts;
}
