/**
 * A thread that sees what a blocked main thread cannot: that its loop does not turn, which it tells the
 * master over a pipe of its own; and that the master is gone. A child whose loop turns hears of that by
 * itself and drains; one whose loop stands still would live for ever.
 */
import { Worker } from 'node:worker_threads';
import type { BoardMemory } from './job-board.js';
import type { PulseMemory } from './pulse.js';

export interface WatchdogData {
  masterPid: number;
  pulse: PulseMemory;
  board: BoardMemory;
  /** How long a child that turns may take to leave after its master is gone. */
  leaveWithinMs: number;
}

export function startWatchdog(data: WatchdogData): Worker {
  const thread = new Worker(new URL('./watchdog-thread.js', import.meta.url), {
    name: 'swarm-watchdog',
    workerData: data,
    // without these, the app's own preloads would run in the thread too
    execArgv: [],
    env: {},
    stdin: false,
    // bounds, not reservations: source maps are read here
    resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 2, stackSizeMb: 1 },
  });
  thread.on('error', (error) => process.emitWarning(`swarm's watchdog thread ended: ${error.message}`));
  thread.unref();
  return thread;
}
