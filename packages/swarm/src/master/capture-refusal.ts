/**
 * Whether a child may be profiled, or its heap written down. Pure.
 *
 * A heap snapshot stops the child for as long as it takes, and takes memory: V8 wants about 8 to 9 times the heap that is
 * in use (21 MB: 0.7 to 4 s and 160 MB more; 150 MB: up to 50 s and 1.3 GB more, on a busy machine).
 */
import type { CaptureKind } from '../protocol.js';
import { formatBytes, formatDuration } from '../units.js';

export interface CaptureFacts {
  kind: CaptureKind;
  isReady: boolean;
  /** It is told to leave, or to be killed. */
  isLeaving: boolean;
  /** For how long its loop has not turned, as far as its master knows; 0: it turns. */
  blockedMs: number;
  heapUsedBytes: number | null;
  /** What the machine and the cgroups have left; null: not known. */
  freeBytes: number | null;
  /** Whatever it costs. */
  force: boolean;
}

/** Up to some seconds on an idle machine; a lock lasts 30 s. */
export const MAX_HEAP_BYTES = 64e6;
const MEMORY_FACTOR = 9;
/** Less than that a busy machine, or a synchronous step of a job, makes; the order then waits. */
const BLOCKED_MS = 2_000;

/** null: it may be taken. */
export function refusal(facts: CaptureFacts): string | null {
  const { kind, isReady, isLeaving, blockedMs, heapUsedBytes, freeBytes, force } = facts;
  if (!isReady) return 'this child is not ready yet';
  if (isLeaving) return 'this child is on its way out';
  if (blockedMs >= BLOCKED_MS) {
    return (
      `the loop of this child has not turned for ${formatDuration(blockedMs)}, so it can take no ${nameOf(kind)}; ` +
      'swarm dump shows where it hangs'
    );
  }
  if (kind === 'profile' || force || heapUsedBytes === null) return null;
  if (heapUsedBytes > MAX_HEAP_BYTES) {
    return (
      `its heap has ${formatBytes(heapUsedBytes)} in use: a snapshot of more than ${formatBytes(MAX_HEAP_BYTES)} may stop ` +
      'the child for longer than the locks of its jobs last; --force takes it nevertheless, swarm quiet before it is safer'
    );
  }
  const needed = heapUsedBytes * MEMORY_FACTOR;
  if (freeBytes === null || needed < freeBytes) return null;
  return (
    `a snapshot of its heap (${formatBytes(heapUsedBytes)}) takes up to ${formatBytes(needed)} of memory, and ` +
    `${formatBytes(freeBytes)} are left here; --force takes it nevertheless`
  );
}

export function nameOf(kind: CaptureKind): string {
  return kind === 'profile' ? 'profile' : 'heap snapshot';
}
