/**
 * What passes between a master and the watchdog threads of its children: lines of JSON over a pipe of their
 * own, because the IPC channel belongs to a main thread that may be blocked. The parsers are the only way
 * in, on both sides. Written without a schema library, as protocol.ts is, and for the same reason.
 */

import { type ActiveJob, isActiveJob } from './active-job.js';

/** The thread's end of the pipe, in the child. */
export const WATCHDOG_FD = 4;
/** Of a child's jobs, so many can be named while its loop stands. */
export const BOARD_PLACES = 64;
/** A longer line is none of ours. */
export const MAX_LINE_BYTES = 512 * 1_024;

/**
 * Why a main loop does not turn, as far as it can be seen from beside it.
 * - `running`: the main thread computes, in JavaScript or in native code
 * - `waiting`: it sleeps in the kernel: a synchronous call, a lock
 * - `starved`: it would run if it got a CPU, or the whole process did not run for a while; only the CPU that it had counts
 * - `debugger`: it sleeps, and a debugger's port is open
 * - `stopped`: the process is stopped, by SIGSTOP or the like; seen by the master alone
 */
export const BLOCK_KINDS = ['running', 'waiting', 'starved', 'debugger', 'stopped'] as const;
export type BlockKind = (typeof BLOCK_KINDS)[number];

/** One look at the main loop. */
export interface Look {
  /** How long the loop has not turned; 0: it turns. */
  silentMs: number;
  /** The part of it in which it could have: no suspend, no want of CPU, no breakpoint. */
  blockedMs: number;
  /** null: it turns. */
  kind: BlockKind | null;
}

/** From the thread. */
export type WatchdogMessage =
  /** Said at once and then each second, and with every look while the loop does not turn. */
  | { type: 'look'; look: Look }
  /** At the beginning of a block: what is in hand. A loop that has stood still since a job's first moment sent no beat of it. */
  | { type: 'jobs'; jobs: ActiveJob[] }
  /** Answer to `dump`: findings of `dump.ts`, which whoever uses them decodes. */
  | { type: 'dump'; dumpId: string; findings: unknown }
  /** A native call has returned, in which a dump could see no stack: where it was. */
  | { type: 'returned'; findings: unknown }
  /** A defect of the thread's own; it goes on. */
  | { type: 'trouble'; message: string };

/** To the thread. */
export type WatchdogOrder = { type: 'dump'; dumpId: string };

/** null: not one of ours. */
export function parseWatchdogMessage(line: string): WatchdogMessage | null {
  const raw = parseObject(line);
  if (raw?.['type'] === 'look') {
    const look = parseLook(raw['look']);
    return look && { type: 'look', look };
  }
  if (raw?.['type'] === 'jobs') {
    const jobs = raw['jobs'];
    return Array.isArray(jobs) && jobs.every(isActiveJob) ? { type: 'jobs', jobs } : null;
  }
  if (raw?.['type'] === 'returned') return { type: 'returned', findings: raw['findings'] };
  const message = raw?.['message'];
  if (raw?.['type'] === 'trouble' && typeof message === 'string') return { type: 'trouble', message };
  const dumpId = raw?.['dumpId'];
  if (raw?.['type'] !== 'dump' || typeof dumpId !== 'string') return null;
  return { type: 'dump', dumpId, findings: raw['findings'] };
}

/** null: not one of ours. */
export function parseWatchdogOrder(line: string): WatchdogOrder | null {
  const raw = parseObject(line);
  const dumpId = raw?.['dumpId'];
  return raw?.['type'] === 'dump' && typeof dumpId === 'string' ? { type: 'dump', dumpId } : null;
}

function parseLook(raw: unknown): Look | null {
  if (!isObject(raw)) return null;
  const { silentMs, blockedMs, kind } = raw;
  if (!isDuration(silentMs) || !isDuration(blockedMs)) return null;
  if (kind === null) return { silentMs, blockedMs, kind };
  const known = BLOCK_KINDS.find((word) => word === kind);
  return known ? { silentMs, blockedMs, kind: known } : null;
}

function isDuration(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

function parseObject(line: string): Record<string, unknown> | null {
  try {
    const raw: unknown = JSON.parse(line);
    return isObject(raw) ? raw : null;
  } catch {
    return null;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
