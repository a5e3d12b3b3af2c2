/** Why a child ended, from what is known of its end. Pure. */
import type { KillReason } from '../supervisor/state.js';
import type { Exit } from './child-handle.js';

/**
 * - `stopped`: it left as told
 * - `boot-timeout`, `stop-timeout`: killed by its master
 * - `uncaught`: an error that nobody caught
 * - `signal`: somebody else's signal, or the kernel's
 * - `exit`: it ended itself
 */
export type ExitCause = 'stopped' | KillReason | 'uncaught' | 'signal' | 'exit';

export function exitCause(facts: {
  exit: Exit;
  killedFor: KillReason | null;
  uncaught: boolean;
  drained: boolean;
}): ExitCause {
  if (facts.killedFor) return facts.killedFor;
  if (facts.drained && facts.exit.code === 0) return 'stopped';
  if (facts.exit.signal) return 'signal';
  if (facts.uncaught) return 'uncaught';
  return 'exit';
}
