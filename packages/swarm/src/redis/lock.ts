/**
 * A lock between processes: a file that names its holder, so that one left by a dead process is taken over.
 *
 * The file appears complete (written aside, then linked into place), hence nobody ever reads half of it.
 * A stale one is moved aside, and looked at again there: of two who find it stale, one moves the old file
 * and the other at worst a new one, which it puts back. What is left of that race needs a third
 * process in the same microseconds; the port that Redis then binds has the last word.
 * Rejected: flock, which Node does not have.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, linkSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isSameProcess, readStartTicks } from '../process/proc.js';

export interface Lock {
  release(): void;
}

interface Holder {
  pid: number;
  /** Start time in clock ticks (Linux), so that a reused pid is not taken for the holder; else null. */
  startTicks: number | null;
  nonce: string;
}

/** Older than this it is stale even if its pid lives: in another pid namespace the pid says nothing. */
const STALE_AFTER_MS = 60_000;
const POLL_MS = 25;

/**
 * Waits for the lock. Returns null when somebody held it for longer than `timeoutMs`; throws what the file
 * system says (EACCES, ENOSPC, …).
 */
export async function acquireLock(path: string, timeoutMs: number): Promise<Lock | null> {
  const deadlineMs = performance.now() + timeoutMs;
  const own: Holder = {
    pid: process.pid,
    startTicks: readStartTicks(process.pid),
    nonce: randomBytes(8).toString('hex'),
  };
  const aside = `${path}.${own.nonce}`;
  for (;;) {
    if (tryLink(path, aside, own)) return { release: () => releaseIfOwn(path, own) };
    if (isStale(path)) takeAway(path, `${aside}.stale`);
    else if (performance.now() >= deadlineMs) return null;
    else await sleep(POLL_MS);
  }
}

function tryLink(path: string, aside: string, own: Holder): boolean {
  try {
    writeFileSync(aside, JSON.stringify(own), { mode: 0o600 });
    linkSync(aside, path);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

function releaseIfOwn(path: string, own: Holder): void {
  if (readHolder(path)?.nonce === own.nonce) rmSync(path, { force: true });
}

function takeAway(path: string, moved: string): void {
  try {
    renameSync(path, moved);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  if (!isStale(moved)) {
    try {
      linkSync(moved, path);
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
    }
  }
  rmSync(moved, { force: true });
}

function isStale(path: string): boolean {
  const holder = readHolder(path);
  if (holder === null) return existsSync(path);
  if (!isSameProcess(holder.pid, holder.startTicks)) return true;
  try {
    return Date.now() - statSync(path).mtimeMs > STALE_AFTER_MS;
  } catch {
    return false;
  }
}

function readHolder(path: string): Holder | null {
  try {
    const holder: unknown = JSON.parse(readFileSync(path, 'utf8'));
    if (typeof holder !== 'object' || holder === null || !('pid' in holder) || !('nonce' in holder))
      return null;
    const startTicks =
      'startTicks' in holder && typeof holder.startTicks === 'number' ? holder.startTicks : null;
    if (typeof holder.pid !== 'number' || typeof holder.nonce !== 'string') return null;
    return { pid: holder.pid, startTicks, nonce: holder.nonce };
  } catch {
    return null;
  }
}

export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
