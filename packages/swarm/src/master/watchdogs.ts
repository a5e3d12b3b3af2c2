/**
 * What the watchdogs of all children say, and what can be seen of those that say nothing: a process that is
 * stopped has no thread that runs. It raises the events; what is done about them is the core's to decide.
 *
 * Invariant: a watchdog is silent only as far as this master itself was awake and looked. After a look that is
 * late, everybody has his whole time again.
 */
import type { ChildHandle } from '../process/child-handle.js';
import { readStat } from '../process/proc.js';
import { lockPaceOf } from '../recovery/lock-holdings.js';
import type { SupervisorEvent } from '../supervisor/events.js';
import type { BlockKind, Look } from '../watchdog-protocol.js';

/** Beyond this silence of a watchdog that reports each second, the kernel is asked. */
const SILENT_MS = 4_000;
/** Between two looks of ours; a longer pause is a late look. */
const ON_TIME_MS = 2_500;

interface Heard {
  atMs: number;
  isBlocked: boolean;
  /** At the last look its pipe had ended; with the process it does so too, a moment before its exit is heard of. */
  hadEnded: boolean;
}

export interface WatchdogsParts {
  children: () => Iterable<ChildHandle>;
  ask: (event: SupervisorEvent) => void;
  /** A watchdog has ended while its child goes on. */
  onEnded: (child: ChildHandle) => void;
}

export class Watchdogs {
  readonly #parts: WatchdogsParts;
  /** By identity: those whose watchdog has said something. */
  readonly #heard = new Map<string, Heard>();
  #lookedAtMs = performance.now();

  constructor(parts: WatchdogsParts) {
    this.#parts = parts;
  }

  /** Its watchdog has looked. */
  hear(child: ChildHandle, { kind, ...times }: Look): void {
    const wasBlocked = this.#heard.get(child.identity)?.isBlocked ?? false;
    this.#heard.set(child.identity, { atMs: performance.now(), isBlocked: kind !== null, hadEnded: false });
    if (kind !== null) return this.#ask(child, kind, times);
    const { slot, identity } = child;
    if (wasBlocked) this.#parts.ask({ type: 'childUnblocked', slot, identity });
  }

  /** Each second. */
  look(): void {
    const nowMs = performance.now();
    const isLate = nowMs - this.#lookedAtMs > ON_TIME_MS;
    this.#lookedAtMs = nowMs;
    for (const child of this.#parts.children()) {
      const heard = this.#heard.get(child.identity);
      if (!heard || child.exit) continue;
      if (child.watchdog?.hasEnded) {
        if (heard.hadEnded) this.#hasEnded(child, heard);
        heard.hadEnded = true;
        continue;
      }
      if (isLate) heard.atMs = nowMs;
      const silentMs = nowMs - heard.atMs;
      if (silentMs < SILENT_MS) continue;
      heard.isBlocked = true;
      const kind = silentKind(child);
      // of what is not stopped, nobody knows whether it could have run
      this.#ask(child, kind, { silentMs, blockedMs: kind === 'stopped' ? silentMs : 0 });
    }
  }

  forget({ identity }: ChildHandle): void {
    this.#heard.delete(identity);
  }

  /** Its silence says nothing of the child any more. */
  #hasEnded(child: ChildHandle, { isBlocked }: Heard): void {
    const { slot, identity } = child;
    this.#heard.delete(identity);
    if (isBlocked) this.#parts.ask({ type: 'childUnblocked', slot, identity });
    this.#parts.onEnded(child);
  }

  #ask({ slot, identity, workers }: ChildHandle, kind: BlockKind, times: Omit<Look, 'kind'>): void {
    const lockMs = Math.max(0, ...workers.map(({ lock }) => lock?.durationMs ?? 0));
    this.#parts.ask({ type: 'childBlocked', slot, identity, kind, lockMs, ...times });
    const pace = lockPaceOf(workers);
    if (!pace || times.silentMs < pace.firstMs) return;
    this.#parts.ask({ type: 'renewalMissed', slot, identity, everyMs: pace.everyMs });
  }
}

/** Of a process none of whose threads says anything. Not stopped, nor at gdb's: it gets no CPU, or is swapped out. */
function silentKind({ pid }: ChildHandle): BlockKind {
  const state = readStat(pid)?.state;
  if (state === 'T') return 'stopped';
  return state === 't' ? 'debugger' : 'starved';
}
