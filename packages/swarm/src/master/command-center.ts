/**
 * Turns requests into events, and what comes of these into answers. It sees the process table and the
 * effects after each decision and nothing else, so it can neither miss an outcome nor invent one. Pure but for
 * the replies.
 *
 * Every request gets exactly one last answer: what it asked for, why that cannot be any more (somebody else
 * undid it, the master stops), or that its deadline passed.
 */
import type { Reply } from '../registry/command-listener.js';
import { type Answer, COMMAND_DEADLINE_MS, type ControlCommand } from '../registry/commands.js';
import type { Effect, ExitReason, SupervisorEvent } from '../supervisor/events.js';
import { isGoing, isLastOfGroup, staying } from '../supervisor/scale.js';
import { childrenOf, type KillReason, type Slot, type SupervisorState } from '../supervisor/state.js';

type Outcome = Answer & { state: 'news' | 'done' | 'failed' };

/** What came of a command after one decision; null: nothing yet. */
type Look = (state: SupervisorState, effects: readonly Effect[]) => Outcome | null;

interface Pending {
  reply: Reply;
  look: Look;
  dueAtMs: number;
}

/** What a command makes happen, and how its end is known; an answer: it is over already. */
type Plan = { event: SupervisorEvent; look: Look } | Outcome;

/** What a child that never became ready says of it; null: nothing. */
export type ExplainBoot = (identity: string, killedFor: KillReason | null) => string | null;

export class CommandCenter {
  readonly #pending = new Set<Pending>();
  readonly #explainBoot: ExplainBoot;

  constructor(explainBoot: ExplainBoot) {
    this.#explainBoot = explainBoot;
  }

  /** An event to feed; the answers follow by themselves. */
  take(command: ControlCommand, reply: Reply, state: SupervisorState, nowMs: number): SupervisorEvent | null {
    const plan = planOf(command, state, this.#explainBoot);
    if (!('event' in plan)) {
      reply(plan);
      return null;
    }
    reply({ state: 'accepted', message: '' });
    this.#pending.add({ reply, look: plan.look, dueAtMs: nowMs + COMMAND_DEADLINE_MS });
    return plan.event;
  }

  /** After each decision. */
  observe(state: SupervisorState, effects: readonly Effect[], nowMs: number): void {
    for (const pending of this.#pending) {
      const outcome = pending.look(state, effects);
      if (outcome) pending.reply(outcome);
      const isOpen = outcome === null || outcome.state === 'news';
      if (isOpen && state.phase !== 'stopped' && nowMs < pending.dueAtMs) continue;
      this.#pending.delete(pending);
      if (isOpen) pending.reply(state.phase === 'stopped' ? failed('the master stopped before') : overdue());
    }
  }
}

function planOf(command: ControlCommand, state: SupervisorState, explainBoot: ExplainBoot): Plan {
  if (state.phase === 'stopped') {
    return command.type === 'stop' ? done('stopped') : failed('the master has stopped');
  }
  if (state.phase === 'stopping' && command.type !== 'stop') return failed('the master is stopping');
  switch (command.type) {
    case 'quiet':
    case 'resume':
      return command.child === null
        ? paceMaster(command.type)
        : paceChild(command.type, command.child, state);
    case 'stop':
      return command.child === null ? stopMaster() : stopChild(command.child, state);
    case 'roll':
      return roll(state, explainBoot);
    case 'recycle':
      return recycle(command.child, state, explainBoot);
    case 'scale':
      return scale(command, state);
  }
}

function paceMaster(type: 'quiet' | 'resume'): Plan {
  return {
    event: { type: type === 'quiet' ? 'quietRequested' : 'resumeRequested', slot: null },
    look: (state) => {
      const isSo = state.phase === (type === 'quiet' ? 'quiet' : 'running');
      return isSo ? done(summary(state)) : failed('the master is stopping');
    },
  };
}

function paceChild(type: 'quiet' | 'resume', identity: string, state: SupervisorState): Plan {
  const slot = seatOf(state, identity);
  if (!slot) return failed(GONE);
  const wanted = type === 'quiet' ? 'quiet' : 'up';
  if (slot.state !== 'up' && slot.state !== 'quiet') return failed(`slot ${slot.index} is ${slot.state}`);
  return {
    event: { type: type === 'quiet' ? 'quietRequested' : 'resumeRequested', slot: slot.index },
    look: (now) => {
      const seat = seatOf(now, identity);
      if (!seat) return failed(GONE);
      const text = `slot ${seat.index} is ${seat.state}`;
      return seat.state === wanted ? done(text) : failed(text);
    },
  };
}

const STOPPED: Partial<Record<ExitReason, string>> = {
  killed: 'stopped; a child had to be killed',
  left: 'stopped; jobs were left in active',
};

function stopMaster(): Plan {
  return {
    event: { type: 'stopRequested' },
    look: (_, effects) => {
      const exit = effects.find((effect) => effect.type === 'exit');
      return exit ? done(STOPPED[exit.reason] ?? 'stopped') : null;
    },
  };
}

function stopChild(identity: string, state: SupervisorState): Plan {
  const slot = seatOf(state, identity);
  if (!slot) return failed(GONE);
  if (isLastOfGroup(state, slot)) {
    return failed(
      `slot ${slot.index} is the last of its group: stop the master, quiet the child, or recycle it`,
    );
  }
  let killed = '';
  return {
    event: { type: 'removeRequested', slot: slot.index },
    look: (now, effects) => {
      if (effects.some((effect) => effect.type === 'kill' && effect.identity === identity))
        killed = ' (it had to be killed)';
      const isThere = now.slots.some((other) =>
        childrenOf(other).some((child) => child.identity === identity),
      );
      return isThere ? null : done(`the child of slot ${slot.index} is gone${killed}; ${summary(now)}`);
    },
  };
}

function roll(state: SupervisorState, explainBoot: ExplainBoot): Plan {
  // asked for while one is under way: it is the one after that counts
  let endsToCome = state.roll === 'none' ? 1 : 2;
  return {
    event: { type: 'rollRequested' },
    look: (now, effects) => {
      for (const effect of effects) {
        if (effect.type !== 'announceRoll') continue;
        endsToCome--;
        if (endsToCome > 0) continue;
        const { error, generation } = effect;
        if (error === null) return done(`generation ${generation}; ${summary(now)}`);
        return failed(`${because(error, effects, explainBoot)}; the old children go on`);
      }
      return progress(now, effects);
    },
  };
}

function progress(now: SupervisorState, effects: readonly Effect[]): Outcome | null {
  const replaced = effects.find((effect) => effect.type === 'announceReplacement' && effect.error === null);
  if (replaced?.type !== 'announceReplacement' || replaced.reason !== 'roll') return null;
  const left = now.slots.filter(({ wanted, next }) => (wanted ?? next?.wanted)?.reason === 'roll').length;
  return { state: 'news', message: `slot ${replaced.slot} replaced, ${left} to go` };
}

function recycle(identity: string, state: SupervisorState, explainBoot: ExplainBoot): Plan {
  const slot = seatOf(state, identity);
  if (!slot) return failed(GONE);
  if (slot.state !== 'up' && slot.state !== 'quiet') return failed(`slot ${slot.index} is ${slot.state}`);
  const { index } = slot;
  return {
    event: { type: 'recycleRequested', slot: index, identity, detail: 'command', overlap: true },
    look: (now, effects) => {
      const refused = effects.find(
        (effect) => effect.type === 'announceReplacement' && effect.slot === index && effect.error !== null,
      );
      if (refused?.type === 'announceReplacement') {
        const more = refused.reason === 'recycle' ? ', and another try follows' : '';
        return failed(`${because(refused.error, effects, explainBoot)}; the old child goes on${more}`);
      }
      const seat = now.slots.find((other) => other.index === index);
      if (!seat || isGoing(seat)) return failed(`slot ${index} was given up meanwhile`);
      if (seat.child?.identity === identity) {
        const isOnItsWay = seat.wanted !== null || seat.next !== null || seat.state === 'stopping';
        return isOnItsWay
          ? null
          : failed('a roll that was to replace it was given up; the old child goes on');
      }
      // whoever sits there now is another, in whatever way that came
      if (seat.failedBoots >= now.policy.bootAttempts)
        return failed(`slot ${index} does not boot; it is tried again and again`);
      const isReady = seat.child !== null && seat.child.readyAtMs !== null;
      return isReady && !seat.leaving ? done(`slot ${index} replaced: pid ${seat.child?.pid}`) : null;
    },
  };
}

function scale(
  { group: wanted, count }: Extract<ControlCommand, { type: 'scale' }>,
  state: SupervisorState,
): Plan {
  const groups = [...new Set(state.slots.map(({ group }) => group))];
  const group = wanted ?? groups[0];
  if (wanted === null && groups.length > 1) return failed(`name one of the groups: ${groups.join(', ')}`);
  if (group === undefined || !groups.includes(group))
    return failed(`there is no group ${JSON.stringify(wanted)}, only ${groups.join(', ')}`);
  const before = new Set(state.slots.map(({ index }) => index));
  return {
    event: { type: 'scaleRequested', group, count },
    look: (now) => {
      const slots = staying(now, group);
      if (slots.length !== count) return failed(`changed again meanwhile: ${slots.length} wanted now`);
      const added = slots.filter(({ index }) => !before.has(index));
      const failing = added.find(({ failedBoots }) => failedBoots >= now.policy.bootAttempts);
      if (failing) return failed(`slot ${failing.index} does not boot; it is tried again and again`);
      const isSettled = added.every(({ state: at }) => at === 'up' || at === 'quiet');
      const isEmptied = !now.slots.some((slot) => slot.group === group && isGoing(slot));
      return isSettled && isEmptied ? done(summary(now)) : null;
    },
  };
}

/** Which child's boot it was, if one failed in this very decision, and what it said. */
export function because(error: string | null, effects: readonly Effect[], explainBoot: ExplainBoot): string {
  for (const effect of effects) {
    if (effect.type !== 'announceExit') continue;
    const why = explainBoot(effect.identity, effect.killedFor);
    if (why) return `${error}: ${why}`;
  }
  return error ?? '';
}

const GONE = 'this child is gone, or on its way out';

function done(message: string): Outcome {
  return { state: 'done', message };
}

function failed(message: string): Outcome {
  return { state: 'failed', message };
}

function overdue(): Outcome {
  return failed(`not done within ${COMMAND_DEADLINE_MS / 60_000} min; it goes on, and swarm ps shows how`);
}

function seatOf(state: SupervisorState, identity: string): Slot | undefined {
  return state.slots.find((slot) => slot.child?.identity === identity);
}

function summary(state: SupervisorState): string {
  const up = state.slots.filter((slot) => slot.state === 'up').length;
  const quiet = state.slots.filter((slot) => slot.state === 'quiet').length;
  return `${up}/${state.slots.length} up${quiet > 0 ? `, ${quiet} quiet` : ''}`;
}
