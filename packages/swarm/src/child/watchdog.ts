/**
 * A thread that sees what a blocked main thread cannot: that the master is gone. A child whose loop
 * turns hears of it by itself and drains; one whose loop stands still would live for ever.
 */
import { Worker } from 'node:worker_threads';

export interface WatchdogData {
  masterPid: number;
  /** The main thread's tick counter. */
  ticks: Int32Array;
  /** How long a child that turns may take to leave after its master is gone. */
  leaveWithinMs: number;
}

export function startWatchdog(data: WatchdogData): void {
  const thread = new Worker(new URL('./watchdog-thread.js', import.meta.url), {
    name: 'swarm-watchdog',
    workerData: data,
    // without these, the app's own preloads would run in the thread too
    execArgv: [],
    env: {},
    stdin: false,
    resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2, stackSizeMb: 1 },
  });
  thread.on('error', (error) => process.emitWarning(`swarm's watchdog thread ended: ${error.message}`));
  thread.unref();
}
