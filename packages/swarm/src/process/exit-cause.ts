/** Why a child ended, from what is known of its end. Pure. */
import type { KillReason, LeaveReason } from '../supervisor/state.js';
import type { Exit } from './child-handle.js';

/**
 * - `stopped`, `rolled`, `recycled`: it left as told
 * - `boot-timeout`, `stop-timeout`, `max-memory-hard`: killed by its master
 * - `uncaught`: an error that nobody caught
 * - `signal`: somebody else's signal, or the kernel's
 * - `exit`: it ended itself
 */
export type ExitCause = 'stopped' | 'rolled' | 'recycled' | KillReason | 'uncaught' | 'signal' | 'exit';

const LEFT = { stop: 'stopped', scale: 'stopped', roll: 'rolled', recycle: 'recycled' } as const;

export function exitCause(facts: {
  exit: Exit;
  killedFor: KillReason | null;
  leavesFor: LeaveReason | null;
  uncaught: boolean;
  drained: boolean;
}): ExitCause {
  if (facts.killedFor) return facts.killedFor;
  if (facts.drained && facts.exit.code === 0) return LEFT[facts.leavesFor ?? 'stop'];
  if (facts.exit.signal) return 'signal';
  if (facts.uncaught) return 'uncaught';
  return 'exit';
}
