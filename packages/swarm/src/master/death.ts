/** A child's death, as those who release its jobs must know it. Pure. */
import type { ChildHandle } from '../process/child-handle.js';
import { exitCause } from '../process/exit-cause.js';
import type { Death } from '../protocol.js';
import type { KillReason, LeaveReason } from '../supervisor/state.js';

type Dead = Pick<ChildHandle, 'identity' | 'exit' | 'uncaught' | 'drained' | 'waiting'>;

export function deathOf(
  { identity, exit, uncaught, drained, waiting }: Dead,
  told: { killedFor: KillReason | null; leavesFor: LeaveReason | null },
  nowMs = Date.now(),
): Death {
  const { code, signal } = exit ?? { code: null, signal: null };
  const cause = exitCause({
    exit: { code, signal },
    ...told,
    uncaught: uncaught !== null,
    drained: drained !== null,
  });
  return { id: identity, cause, detail: detailOf(cause, code, signal), atMs: nowMs, waiting, pinned: null };
}

/** What the cause alone does not tell. */
function detailOf(cause: string, code: number | null, signal: string | null): string {
  if (cause === 'signal') return signal ?? '';
  return cause === 'exit' && code !== null ? `code ${code}` : '';
}
