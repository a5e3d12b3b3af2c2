/**
 * What the main thread leaves in shared memory for its watchdog: a counter that stands still when the loop
 * does, and what the watchdog cannot find out by itself.
 */
import inspector from 'node:inspector';

const TICK = 0;
const DEBUGGER = 1;
const WORDS = 2;

export type PulseMemory = Int32Array;

/** The main thread's side. */
export class Pulse {
  readonly memory: PulseMemory = new Int32Array(new SharedArrayBuffer(WORDS * Int32Array.BYTES_PER_ELEMENT));

  tick(): void {
    Atomics.store(this.memory, DEBUGGER, inspector.url() === undefined ? 0 : 1);
    Atomics.add(this.memory, TICK, 1);
  }
}

/** The watchdog's side. */
export function readPulse(memory: PulseMemory): { tick: number; hasDebugger: boolean } {
  return { tick: Atomics.load(memory, TICK), hasDebugger: Atomics.load(memory, DEBUGGER) === 1 };
}
