/** See watchdog.ts; runs in the thread. */
import { workerData } from 'node:worker_threads';
import { killOwnGroup } from './own-group.js';
import type { WatchdogData } from './watchdog.js';

const LOOK_MS = 250;
/** A look that comes later says that nobody got the CPU, and nothing about the main thread. */
const LATE_MS = 400;
/** The main thread ticks four times in this: a second of silence is a loop that stands still. */
const SILENT_LOOKS = 4;

const { masterPid, ticks, leaveWithinMs } = workerData as WatchdogData;
let lastTick = Atomics.load(ticks, 0);
let silentLooks = 0;
let lookedAtMs = performance.now();
let orphanedAtMs: number | null = null;

setInterval(() => {
  const tick = Atomics.load(ticks, 0);
  const nowMs = performance.now();
  const isLate = nowMs - lookedAtMs > LATE_MS;
  silentLooks = tick === lastTick && !isLate ? silentLooks + 1 : 0;
  lastTick = tick;
  lookedAtMs = nowMs;
  // an orphan is adopted by init or a subreaper, whichever: its parent is another
  if (process.ppid === masterPid) return;
  orphanedAtMs ??= nowMs;
  const overdue = nowMs - orphanedAtMs > leaveWithinMs;
  if (silentLooks >= SILENT_LOOKS || overdue) killOwnGroup();
}, LOOK_MS);
