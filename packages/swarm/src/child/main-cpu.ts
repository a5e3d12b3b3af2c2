/** How much CPU the main thread gets, as the watchdog sees it from beside. */
import type { NativeSide } from '../dump.js';
import { readThreadCpu } from '../process/native-side.js';

/** How much CPU a thread has that is not starved, of the time. */
const STARVED_BELOW = 0.3;
const BUSY_ABOVE = 0.7;
/** The kernel counts CPU time in steps of 10 ms: in less than this, nothing can be told. */
const MEASURED_MS = 50;

export interface Cpu {
  atMs: number;
  cpuMs: number;
}

export function cpuNow(): Cpu | null {
  const cpu = readThreadCpu(process.pid, process.pid);
  return cpu && { atMs: performance.now(), cpuMs: cpu.cpuMs };
}

export function withCpu(native: NativeSide | null, before: Cpu | null): NativeSide | null {
  const share = cpuShareSince(before);
  return native && share !== null ? { ...native, cpuPercent: Math.round(100 * share) } : native;
}

/** null: the time is too short to tell, or the kernel does not say. */
export function cpuShareSince(before: Cpu | null): number | null {
  const after = cpuNow();
  if (!before || !after || after.atMs - before.atMs < MEASURED_MS) return null;
  return Math.min(1, (after.cpuMs - before.cpuMs) / (after.atMs - before.atMs));
}

/** It did not answer, and not because it had no CPU. */
export function isNativeForSure(before: Cpu | null): boolean {
  const state = readThreadCpu(process.pid, process.pid)?.state;
  const share = cpuShareSince(before);
  if (state === undefined || share === null) return false;
  return state === 'R' ? share > BUSY_ABOVE : true;
}

/** Ready to run, and kept from it. */
export function isStarved(native: NativeSide | null): boolean {
  return native?.state === 'R' && native.cpuPercent !== null && native.cpuPercent < 100 * STARVED_BELOW;
}
