/** How much CPU the main thread gets, as the watchdog sees it from beside. */
import type { NativeSide } from '../dump.js';
import { readThreadCpu } from '../process/native-side.js';

/** Whoever had that much of it and did not answer is where nobody can interrupt him; an answer takes a few ms. */
const ENOUGH_CPU_MS = 100;
/** The kernel counts CPU time in steps of 10 ms: in less than this, no share of it can be told. */
const MEASURED_MS = 50;

export interface Cpu {
  atMs: number;
  cpuMs: number;
}

export function cpuNow(): Cpu | null {
  const cpu = readThreadCpu(process.pid, process.pid);
  return cpu && { atMs: performance.now(), cpuMs: cpu.cpuMs };
}

/**
 * What is to be made of a main thread that has not answered since then: it is in native code or in the kernel, or it
 * had too little CPU to tell. `native` where the kernel does not say.
 */
export function whySilent(since: Cpu | null): 'native' | 'starved' {
  const thread = readThreadCpu(process.pid, process.pid);
  if (!thread || !since || thread.state !== 'R') return 'native';
  return thread.cpuMs - since.cpuMs >= ENOUGH_CPU_MS ? 'native' : 'starved';
}

export function withCpu(native: NativeSide | null, since: Cpu | null): NativeSide | null {
  const now = cpuNow();
  if (!native || !since || !now || now.atMs - since.atMs < MEASURED_MS) return native;
  const share = Math.min(1, (now.cpuMs - since.cpuMs) / (now.atMs - since.atMs));
  return { ...native, cpuPercent: Math.round(100 * share) };
}
