/** What a dump says, put together from what was seen. Pure. */
import type { DumpJob, DumpKind, Findings, Frame, Heap } from '../dump.js';
import type { MainContext } from './dump-context.js';

/** From which part of its limit on a heap is a reason of its own. */
const FULL_HEAP = 0.7;

export function nothing(kind: DumpKind, jobs: DumpJob[]): Findings {
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

export function stackFacts(
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

export function contextFacts(context: MainContext | null, isBlocked: boolean): Partial<Findings> {
  if (!context) return {};
  const { io, resources, heap, elu, workerThreads } = context;
  return { io, resources, heap, elu, workerThreads, notes: isBlocked ? heapNotes(heap) : [] };
}

/** As it is on the board; it may have ended, and its context live on. */
export function sameJob(jobs: readonly DumpJob[], job: DumpJob | null): DumpJob | null {
  return jobs.find(({ queue, id }) => queue === job?.queue && id === job.id) ?? null;
}

/** A loop that seems to compute may be one that V8 hardly lets run. */
function heapNotes({ usedBytes, limitBytes }: Heap): string[] {
  const percent = Math.round((100 * usedBytes) / limitBytes);
  return percent < 100 * FULL_HEAP
    ? []
    : [`the heap is ${percent} % full: V8 may spend most of the time on collecting garbage`];
}

export function onlyOne(jobs: DumpJob[]): DumpJob | null {
  return jobs.length === 1 ? (jobs[0] ?? null) : null;
}

/** Node's own frames alone show no more than that it is between two callbacks. */
export function hasForeignFrame(frames: readonly Frame[]): boolean {
  return frames.some(({ owner, isAsync }) => owner !== 'node' && !isAsync);
}
