/**
 * How long a main loop has stood still, from looks at it. Pure.
 *
 * Invariant: only time counts in which the loop could have turned. A look that is late means that the watchdog
 * did not run itself (suspend, SIGSTOP, no CPU), so that nothing is known of the time before it; a main
 * thread that is ready to run but gets no CPU is starved, and counts what it got; one that sleeps while a
 * debugger's port is open is at a breakpoint.
 *
 * Rejected: comparing times of the clock. After a suspend every loop would seem stuck.
 */
import type { BlockKind, Look } from '../watchdog-protocol.js';

export const LOOK_MS = 250;
/** A look after a longer pause is late. */
const ON_TIME_MS = 2 * LOOK_MS;
/** A thread that had the CPU for less than this part of the time was kept from it. */
const STARVED_BELOW = 0.5;
/** A tick may fall between two looks: less silence than this is none. */
const NEWS_MS = 2 * LOOK_MS;

/** The main thread as the kernel sees it. */
export interface ThreadSight {
  /** As of `ProcStat`. */
  state: string;
  /** CPU time so far. */
  cpuMs: number;
}

export interface Sight {
  /** Monotonic. */
  atMs: number;
  tick: number;
  hasDebugger: boolean;
  /** Asked for only when the tick has not moved; null: the kernel does not say. */
  thread: () => ThreadSight | null;
}

export interface LoopWatch extends Look {
  atMs: number;
  tick: number;
  /** null: not looked at yet. */
  cpuMs: number | null;
}

export function startWatch({ atMs, tick }: Pick<Sight, 'atMs' | 'tick'>): LoopWatch {
  return { atMs, tick, cpuMs: null, silentMs: 0, blockedMs: 0, kind: null };
}

export function nextLook(watch: LoopWatch, sight: Sight): LoopWatch {
  const { atMs, tick } = sight;
  if (tick !== watch.tick) return startWatch(sight);
  const gapMs = atMs - watch.atMs;
  const thread = sight.thread();
  const { kind, countedMs } = judge(watch, gapMs, thread, sight.hasDebugger);
  return {
    atMs,
    tick,
    cpuMs: thread?.cpuMs ?? null,
    silentMs: watch.silentMs + gapMs,
    blockedMs: watch.blockedMs + countedMs,
    kind,
  };
}

/** As it is told: a loop between two of its ticks turns. */
export function lookOf({ silentMs, blockedMs, kind }: LoopWatch): Look {
  if (silentMs < NEWS_MS) return { silentMs: 0, blockedMs: 0, kind: null };
  return { silentMs: Math.round(silentMs), blockedMs: Math.round(blockedMs), kind };
}

function judge(
  watch: LoopWatch,
  gapMs: number,
  thread: ThreadSight | null,
  hasDebugger: boolean,
): { kind: BlockKind; countedMs: number } {
  if (gapMs > ON_TIME_MS) return { kind: 'starved', countedMs: 0 };
  if (!thread) return { kind: 'running', countedMs: gapMs };
  // only this thread is traced: the watchdog runs
  if (thread.state === 't' || thread.state === 'T') return { kind: 'debugger', countedMs: 0 };
  if (thread.state !== 'R') {
    return hasDebugger ? { kind: 'debugger', countedMs: 0 } : { kind: 'waiting', countedMs: gapMs };
  }
  // its share can be told from the second silent look on
  const usedMs = watch.cpuMs === null ? gapMs : Math.min(gapMs, thread.cpuMs - watch.cpuMs);
  if (usedMs < STARVED_BELOW * gapMs) return { kind: 'starved', countedMs: usedMs };
  return { kind: 'running', countedMs: gapMs };
}
