/**
 * How long a main loop has stood still, from looks at it. Pure.
 *
 * Invariant: only time counts in which the loop could have turned. Of a look that is late, the watchdog itself did not
 * run before it (suspend, SIGSTOP, no CPU), so that nothing is known of that time but what CPU the main thread
 * had in it; one that is ready to run and is kept from it is starved, and counts what it had; one that
 * sleeps while a debugger's port is open is at a breakpoint.
 *
 * Rejected: comparing times of the clock. After a suspend every loop would seem stuck. And: not counting at all
 * what is starved. Where there is always more to do than CPUs, a loop without end would never be found.
 */
import type { BlockKind, Look } from '../watchdog-protocol.js';

export const LOOK_MS = 250;
/** At a loop that stands still: how soon a block is known to have reached its threshold, and over. */
export const CLOSE_LOOK_MS = 100;
/** A look after a longer pause is late. */
const ON_TIME_MS = 2 * LOOK_MS;
/** A thread that is ready to run and had the CPU for less than this part of the time was kept from it. */
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
  /** null: the kernel does not say. */
  thread: ThreadSight | null;
}

export interface LoopWatch extends Look {
  atMs: number;
  tick: number;
  /** null: the kernel does not say. */
  cpuMs: number | null;
}

export function startWatch({ atMs, tick, thread }: Omit<Sight, 'hasDebugger'>): LoopWatch {
  return { atMs, tick, cpuMs: thread?.cpuMs ?? null, silentMs: 0, blockedMs: 0, kind: null };
}

export function nextLook(watch: LoopWatch, sight: Sight): LoopWatch {
  const { atMs, tick, thread } = sight;
  if (tick !== watch.tick) return startWatch(sight);
  const gapMs = atMs - watch.atMs;
  const { kind, countedMs } = judge(watch, sight, gapMs);
  return {
    atMs,
    tick,
    cpuMs: thread?.cpuMs ?? null,
    silentMs: watch.silentMs + gapMs,
    blockedMs: watch.blockedMs + countedMs,
    kind,
  };
}

/** How long until the next look. */
export function pauseMs(watch: LoopWatch): number {
  return lookOf(watch).kind === null ? LOOK_MS : CLOSE_LOOK_MS;
}

/** As it is told: a loop between two of its ticks turns. */
export function lookOf({ silentMs, blockedMs, kind }: LoopWatch): Look {
  if (silentMs < NEWS_MS) return { silentMs: 0, blockedMs: 0, kind: null };
  return { silentMs: Math.round(silentMs), blockedMs: Math.round(blockedMs), kind };
}

function judge(
  { cpuMs }: LoopWatch,
  { thread, hasDebugger }: Sight,
  gapMs: number,
): { kind: BlockKind; countedMs: number } {
  const isLate = gapMs > ON_TIME_MS;
  if (!thread) return isLate ? { kind: 'starved', countedMs: 0 } : { kind: 'running', countedMs: gapMs };
  // only this thread is traced: the watchdog runs
  if (thread.state === 't' || thread.state === 'T') return { kind: 'debugger', countedMs: 0 };
  const usedMs = cpuMs === null ? 0 : Math.min(gapMs, Math.max(0, thread.cpuMs - cpuMs));
  if (thread.state !== 'R') {
    if (hasDebugger) return { kind: 'debugger', countedMs: 0 };
    return isLate ? { kind: 'starved', countedMs: usedMs } : { kind: 'waiting', countedMs: gapMs };
  }
  if (isLate || usedMs < STARVED_BELOW * gapMs) return { kind: 'starved', countedMs: usedMs };
  return { kind: 'running', countedMs: gapMs };
}
