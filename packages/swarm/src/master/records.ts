/** A master's process table as the registry shows it. Pure but for the clock. */
import type { ChildHandle } from '../process/child-handle.js';
import type { Sample } from '../process/memory.js';
import type { Beat, WorkerInfo } from '../protocol.js';
import type { ChildRecord, LastDeath, MasterState } from '../registry/schema.js';
import type { Phase, Slot, SlotState } from '../supervisor/state.js';
import type { Block } from '../supervisor/stuck.js';

/** Between two beats of a child. */
const BEAT_MS = 1_000;

export function masterState(phase: Phase, slots: readonly Slot[]): MasterState {
  if (phase === 'quiet') return 'quiet';
  if (phase === 'stopping' || phase === 'stopped') return 'stopping';
  return slots.some(({ state }) => state === 'up') ? 'up' : 'starting';
}

export function childRecord(
  slot: Slot,
  child: ChildHandle,
  sample: Sample | undefined,
  lastDeath: LastDeath | null,
  block?: Block | undefined,
): ChildRecord {
  const { beat, jobs } = child;
  return {
    identity: child.identity,
    slot: slot.index,
    group: slot.group,
    state: stateOf(slot, child.identity),
    generation: child.generation,
    pid: child.pid,
    pidStartTicks: child.pidStartTicks,
    startedAtMs: child.startedAtMs,
    readyAtMs: child.readyAtMs,
    beatAtMs: child.beatAtMs,
    rssBytes: sample?.rssBytes ?? null,
    pssBytes: sample?.pssBytes ?? null,
    heapUsedBytes: beat?.heapUsedBytes ?? null,
    heapLimitBytes: beat?.heapLimitBytes ?? null,
    cpuPercent: sample?.cpuPercent ?? null,
    loopLagMs: beat && child.beatAtMs !== null ? Math.max(beat.loopLagMs, silentMs(child.beatAtMs)) : null,
    elu: beat?.elu ?? null,
    // of a blocked loop its watchdog knows more than its last beat
    busy: Math.max(beat?.busy ?? 0, jobs.length),
    concurrency: child.concurrency,
    jobs: [...jobs],
    processed: beat?.processed ?? 0,
    failed: beat?.failed ?? 0,
    restarts: slot.restarts,
    lastDeath,
    stuckSinceMs: block?.isStuck ? Math.round(performance.timeOrigin + block.sinceMs) : null,
    workers: child.workers.map((worker) => ({ ...worker, started: startedBy(worker, beat) })),
  };
}

/** A loop that does not turn cannot say so: a beat that is overdue is lag as well. */
function silentMs(beatAtMs: number): number {
  return Math.max(0, Date.now() - beatAtMs - BEAT_MS);
}

/** While a replacement overlaps, two live in one slot. */
function stateOf({ state, next, leaving }: Slot, identity: string): SlotState {
  if (leaving?.child.identity === identity) return 'stopping';
  if (next?.child?.identity === identity) return next.state === 'settling' ? 'up' : 'starting';
  return state;
}

/** A slot that nobody sits in shows its last child, as far as it still says something. */
export function emptySeatRecord(slot: Slot, lastChild: ChildRecord, lastDeath: LastDeath): ChildRecord {
  return { ...lastChild, state: slot.state, busy: 0, jobs: [], restarts: slot.restarts, lastDeath };
}

/** The same, with this host's times as Redis's clock would have shown them. */
export function onRedisClock(record: ChildRecord, offsetMs: number): ChildRecord {
  if (offsetMs === 0) return record;
  const shift = (atMs: number | null): number | null => (atMs === null ? null : atMs + offsetMs);
  const { lastDeath } = record;
  return {
    ...record,
    startedAtMs: record.startedAtMs + offsetMs,
    readyAtMs: shift(record.readyAtMs),
    stuckSinceMs: shift(record.stuckSinceMs),
    beatAtMs: shift(record.beatAtMs),
    jobs: record.jobs.map((job) => ({ ...job, startedAtMs: job.startedAtMs + offsetMs })),
    lastDeath: lastDeath && { ...lastDeath, atMs: lastDeath.atMs + offsetMs },
  };
}

/** A Worker that the beat does not name has not said. */
function startedBy({ tokenPrefix }: WorkerInfo, beat: Beat | null): number | undefined {
  return beat?.started.find(([prefix]) => prefix === tokenPrefix)?.[1];
}
