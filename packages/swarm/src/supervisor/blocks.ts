/** The blocks of all children in the process table: what their watchdogs tell becomes dumps and kills. Pure. */
import { type Decision, type Moment, same } from './decision.js';
import type { Effect, SupervisorEvent } from './events.js';
import { childrenOf, type Slot, type SupervisorState } from './state.js';
import { type Phase, stepBlock } from './stuck.js';

type Blocked = Extract<SupervisorEvent, { type: 'childBlocked' }>;

/** @returns `kill`: that child is to be killed */
export function onBlocked(
  state: SupervisorState,
  event: Blocked,
  { nowMs }: Moment,
): Decision & { kill: boolean } {
  const phase = phaseOf(state, event.identity, nowMs);
  if (!phase) return { ...same(state), kill: false };
  const before = state.blocks[event.identity] ?? null;
  const canAct = nowMs - state.lastTickAtMs <= state.policy.tiltMs && nowMs >= state.calmAtMs;
  const { block, act } = stepBlock(before, event, state.policy, { phase, nowMs, canAct });
  const next = { ...state, blocks: { ...state.blocks, [event.identity]: block } };
  const effects: Effect[] = [];
  if (block.isStuck !== (before?.isStuck ?? false)) effects.push({ type: 'report' });
  if (act?.type === 'dump') effects.push({ type: 'dump', identity: event.identity, reason: act.reason });
  return { state: next, effects, kill: act?.type === 'kill' };
}

/** Its loop turns again, or it is gone. */
export function endBlock(state: SupervisorState, identity: string): Decision {
  const { [identity]: block, ...blocks } = state.blocks;
  if (!block) return same(state);
  return { state: { ...state, blocks }, effects: block.isStuck ? [{ type: 'report' }] : [] };
}

/** null: there is no such child, or it is being killed already. */
function phaseOf({ slots }: SupervisorState, identity: string, nowMs: number): Phase | null {
  for (const slot of slots) {
    const child = childrenOf(slot).find((other) => other.identity === identity);
    if (!child) continue;
    if (child.killedFor) return null;
    const dueAtMs = killDueAtMs(slot, identity);
    return { isReady: child.readyAtMs !== null, killInMs: dueAtMs === null ? null : dueAtMs - nowMs };
  }
  return null;
}

/** The deadlines at which a child that is there is killed: of its boot, and of its stop. */
function killDueAtMs({ child, next, leaving, state, dueAtMs }: Slot, identity: string): number | null {
  if (leaving?.child.identity === identity) return leaving.dueAtMs;
  if (next?.child?.identity === identity) return next.state === 'starting' ? next.dueAtMs : null;
  const isBounded = child?.identity === identity && (state === 'starting' || state === 'stopping');
  return isBounded ? dueAtMs : null;
}
