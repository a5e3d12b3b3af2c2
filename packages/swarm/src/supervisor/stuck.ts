/**
 * What is done about a child whose loop does not turn. Pure; it knows no clock but the one of the block
 * itself: `blockedMs` counts only the time in which the loop could have turned, so that a suspend or a
 * starved machine brings no child nearer to its kill.
 *
 * Invariants: a block is dumped before its child is killed for it; at most `MAX_DUMPS` times; a child at a breakpoint is
 * neither dumped nor killed; one that boots is not killed (it has a deadline of its own).
 */
import type { BlockKind } from '../watchdog-protocol.js';

/** A child's loop that does not turn. */
export interface Block {
  kind: BlockKind;
  /** Since when, as of the supervisor's clock. */
  sinceMs: number;
  /** As far as it counts. */
  blockedMs: number;
  /** Longer than `stuckAfterMs`. */
  isStuck: boolean;
  /** Taken for the length of the block. */
  dumps: number;
  /** When the last one was asked for; null: none was. */
  dumpedAtMs: number | null;
  /** The stop deadline is near, and a dump was asked for because of it. */
  lastDump: boolean;
}

export interface StuckPolicy {
  stuckAfterMs: number;
  /** null: never. */
  stuckKillAfterMs: number | null;
  /** A child whose Workers have longer locks is given as long: who asks for such a lock blocks for so long. */
  stuckKillMindsLocks: boolean;
}

export interface BlockNews {
  kind: BlockKind;
  blockedMs: number;
  silentMs: number;
  /** The longest lock of its Workers. Default 0. */
  lockMs?: number | undefined;
}

/** Where the child is in its life. */
export interface Phase {
  isReady: boolean;
  /** Time until it is killed for another reason; null: it will not be. */
  killInMs: number | null;
}

export type DumpReason = 'stuck' | 'stop-deadline';
export type BlockAct = { type: 'dump'; reason: DumpReason } | { type: 'kill' };

export const MAX_DUMPS = 5;
/** What a dump takes, with some to spare: nobody is killed before it is done. */
const DUMP_TIME_MS = 1_500;

/** @param canAct false: the supervisor's own clock jumped just now; it only takes note */
export function stepBlock(
  before: Block | null,
  news: BlockNews,
  policy: StuckPolicy,
  { phase, nowMs, canAct }: { phase: Phase; nowMs: number; canAct: boolean },
): { block: Block; act: BlockAct | null } {
  const { kind, blockedMs, silentMs } = news;
  const isStuck = blockedMs >= policy.stuckAfterMs;
  const { sinceMs, dumps, dumpedAtMs, lastDump } = before ?? {
    sinceMs: nowMs - silentMs,
    dumps: 0,
    dumpedAtMs: null,
    lastDump: false,
  };
  const block: Block = { kind, sinceMs, blockedMs, isStuck, dumps, dumpedAtMs, lastDump };
  if (!canAct || kind === 'debugger') return { block, act: null };
  const isDumped = dumpedAtMs !== null && nowMs - dumpedAtMs >= DUMP_TIME_MS;
  const killAfterMs = killAfter(policy, news);
  const isOver = killAfterMs !== null && blockedMs >= killAfterMs;
  if (phase.isReady && isOver && isDumped) return { block, act: { type: 'kill' } };
  if (dumps < MAX_DUMPS && blockedMs >= dumpAtMs(dumps, policy)) {
    return {
      block: { ...block, dumps: dumps + 1, dumpedAtMs: nowMs },
      act: { type: 'dump', reason: 'stuck' },
    };
  }
  if (!lastDump && phase.killInMs !== null && phase.killInMs <= DUMP_TIME_MS) {
    return { block: { ...block, lastDump: true }, act: { type: 'dump', reason: 'stop-deadline' } };
  }
  return { block, act: null };
}

/** The threshold, and then at doubling intervals: 10 s, 20 s, 40 s … */
export function dumpAtMs(dumpsSoFar: number, { stuckAfterMs }: StuckPolicy): number {
  return stuckAfterMs * 2 ** dumpsSoFar;
}

function killAfter(
  { stuckKillAfterMs, stuckKillMindsLocks }: StuckPolicy,
  { lockMs = 0 }: BlockNews,
): number | null {
  if (stuckKillAfterMs === null) return null;
  return stuckKillMindsLocks ? Math.max(stuckKillAfterMs, lockMs) : stuckKillAfterMs;
}
