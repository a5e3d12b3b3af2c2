/** See watchdog.ts; runs in the thread. */
import { workerData } from 'node:worker_threads';
import { killOwnGroup } from './own-group.js';
import type { WatchdogData } from './watchdog.js';

const LOOK_MS = 250;
/** The main thread ticks four times in this: a second of silence is a loop that stands still. */
const SILENT_LOOKS = 4;

const { masterPid, ticks, leaveWithinMs } = workerData as WatchdogData;
let lastTick = Atomics.load(ticks, 0);
let silentLooks = 0;
let orphanedAtMs: number | null = null;

setInterval(() => {
  const tick = Atomics.load(ticks, 0);
  silentLooks = tick === lastTick ? silentLooks + 1 : 0;
  lastTick = tick;
  // an orphan is adopted by init or a subreaper, whichever: its parent is another
  if (process.ppid === masterPid) return;
  orphanedAtMs ??= performance.now();
  const overdue = performance.now() - orphanedAtMs > leaveWithinMs;
  if (silentLooks >= SILENT_LOOKS || overdue) killOwnGroup();
}, LOOK_MS);
