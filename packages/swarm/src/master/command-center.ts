/**
 * Turns requests into events, and what comes of these into answers. It sees the process table after each
 * decision and nothing else, so it can neither miss an outcome nor invent one. Pure but for the replies.
 */

import type { Reply } from '../registry/command-listener.js';
import type { Command } from '../registry/commands.js';
import type { Effect, SupervisorEvent } from '../supervisor/events.js';
import { childrenOf, type Slot, type SupervisorState } from '../supervisor/state.js';

interface Outcome {
  state: 'news' | 'done' | 'failed';
  message: string;
}

interface Pending {
  reply: Reply;
  look(state: SupervisorState, effects: readonly Effect[]): Outcome | null;
}

/** What a command makes happen, and how its end is known; `refused`: why it cannot be. */
type Plan = { events: SupervisorEvent[]; look: Pending['look'] } | { refused: string };

export class CommandCenter {
  readonly #pending = new Set<Pending>();

  /** Events to feed; the answers follow by themselves. */
  take(command: Command, reply: Reply, state: SupervisorState): SupervisorEvent[] {
    const plan = planOf(command, state);
    if ('refused' in plan) {
      reply({ state: 'failed', message: plan.refused });
      return [];
    }
    reply({ state: 'accepted', message: '' });
    this.#pending.add({ reply, look: plan.look });
    return plan.events;
  }

  /** After each decision. */
  observe(state: SupervisorState, effects: readonly Effect[]): void {
    const ends = effects.some(({ type }) => type === 'exit');
    for (const pending of this.#pending) {
      const outcome = pending.look(state, effects) ?? (ends ? STOPPED : null);
      if (!outcome) continue;
      pending.reply(outcome);
      if (outcome.state !== 'news') this.#pending.delete(pending);
    }
  }
}

function planOf(command: Command, state: SupervisorState): Plan {
  const stops = state.phase === 'stopping' || state.phase === 'stopped';
  if (stops && command.type !== 'stop') return { refused: 'the master is stopping' };
  switch (command.type) {
    case 'quiet':
    case 'resume':
      return command.child === null
        ? paceMaster(command.type)
        : paceChild(command.type, command.child, state);
    case 'stop':
      return command.child === null ? stopMaster() : stopChild(command.child, state);
    case 'roll':
      return roll(state);
    case 'recycle':
      return recycle(command.child, state);
    case 'scale':
      return scale(command, state);
  }
}

function paceMaster(type: 'quiet' | 'resume'): Plan {
  const phase = type === 'quiet' ? 'quiet' : 'running';
  return {
    events: [
      type === 'quiet' ? { type: 'quietRequested', slot: null } : { type: 'resumeRequested', slot: null },
    ],
    look: (state) => (state.phase === phase ? { state: 'done', message: summary(state) } : null),
  };
}

function paceChild(type: 'quiet' | 'resume', identity: string, state: SupervisorState): Plan {
  const slot = seatOf(state, identity);
  if (!slot) return { refused: GONE };
  const wanted = type === 'quiet' ? 'quiet' : 'up';
  if (slot.state !== 'up' && slot.state !== 'quiet')
    return { refused: `slot ${slot.index} is ${slot.state}` };
  return {
    events: [{ type: type === 'quiet' ? 'quietRequested' : 'resumeRequested', slot: slot.index }],
    look: (now) => {
      const seat = seatOf(now, identity);
      if (!seat) return { state: 'failed', message: GONE };
      return seat.state === wanted ? { state: 'done', message: `slot ${seat.index} is ${wanted}` } : null;
    },
  };
}

function stopMaster(): Plan {
  return {
    events: [{ type: 'stopRequested' }],
    look: (_, effects) => {
      const exit = effects.find((effect) => effect.type === 'exit');
      return exit
        ? {
            state: 'done',
            message: exit.reason === 'killed' ? 'stopped; a child had to be killed' : 'stopped',
          }
        : null;
    },
  };
}

function stopChild(identity: string, state: SupervisorState): Plan {
  const slot = seatOf(state, identity);
  if (!slot) return { refused: GONE };
  return {
    events: [{ type: 'removeRequested', slot: slot.index }],
    look: (now) => {
      const isThere = now.slots.some((other) =>
        childrenOf(other).some((child) => child.identity === identity),
      );
      return isThere ? null : { state: 'done', message: `slot ${slot.index} is gone; ${summary(now)}` };
    },
  };
}

function roll(state: SupervisorState): Plan {
  // asked for while one is under way: it is the one after that counts
  let ends = state.roll === 'none' ? 1 : 2;
  return {
    events: [{ type: 'rollRequested' }],
    look: (now, effects) => {
      for (const effect of effects) {
        if (effect.type !== 'announceRoll') continue;
        ends--;
        if (ends > 0) continue;
        if (effect.error) return { state: 'failed', message: `${effect.error}; the old children go on` };
        return { state: 'done', message: `generation ${effect.generation}; ${summary(now)}` };
      }
      const replaced = effects.find(
        (effect) => effect.type === 'announceReplacement' && effect.error === null,
      );
      if (replaced?.type !== 'announceReplacement') return null;
      const left = now.slots.filter((slot) => slot.wanted?.reason === 'roll').length;
      return { state: 'news', message: `slot ${replaced.slot} replaced, ${left} to go` };
    },
  };
}

function recycle(identity: string, state: SupervisorState): Plan {
  const slot = seatOf(state, identity);
  if (!slot) return { refused: GONE };
  if (slot.state !== 'up' && slot.state !== 'quiet')
    return { refused: `slot ${slot.index} is ${slot.state}` };
  const { index } = slot;
  return {
    events: [{ type: 'recycleRequested', slot: index, identity, detail: 'command', overlap: true }],
    look: (now, effects) => {
      const failed = effects.find(
        (effect) => effect.type === 'announceReplacement' && effect.slot === index && effect.error,
      );
      if (failed?.type === 'announceReplacement') {
        return {
          state: 'failed',
          message: `${failed.error}; the old child goes on, and another try follows`,
        };
      }
      const seat = now.slots.find((other) => other.index === index);
      if (!seat) return { state: 'failed', message: `slot ${index} is gone` };
      const isReplaced =
        seat.child !== null && seat.child.identity !== identity && seat.child.readyAtMs !== null;
      return isReplaced && !seat.leaving
        ? { state: 'done', message: `slot ${index} replaced: pid ${seat.child?.pid}` }
        : null;
    },
  };
}

function scale({ group: wanted, count }: Extract<Command, { type: 'scale' }>, state: SupervisorState): Plan {
  const groups = [...new Set(state.slots.map(({ group }) => group))];
  const group = wanted ?? groups[0];
  if (wanted === null && groups.length > 1)
    return { refused: `name one of the groups: ${groups.join(', ')}` };
  if (group === undefined || !groups.includes(group))
    return { refused: `no group ${wanted}, only ${groups.join(', ')}` };
  return {
    events: [{ type: 'scaleRequested', group, count }],
    look: (now) => {
      const slots = now.slots.filter((slot) => slot.group === group);
      const isDone = slots.length === count && slots.every(({ state: at }) => at === 'up' || at === 'quiet');
      return isDone ? { state: 'done', message: summary(now) } : null;
    },
  };
}

const STOPPED: Outcome = { state: 'failed', message: 'the master stopped before' };
const GONE = 'this child is gone, or on its way out';

function seatOf(state: SupervisorState, identity: string): Slot | undefined {
  return state.slots.find((slot) => slot.child?.identity === identity);
}

function summary(state: SupervisorState): string {
  const up = state.slots.filter((slot) => slot.state === 'up').length;
  const quiet = state.slots.filter((slot) => slot.state === 'quiet').length;
  return `${up}/${state.slots.length} up${quiet > 0 ? `, ${quiet} quiet` : ''}`;
}
