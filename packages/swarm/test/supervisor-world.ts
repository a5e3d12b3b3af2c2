/** A world for tests of the supervisor: no processes, no clock, and invariants that hold after every event. */
import assert from 'node:assert/strict';
import { decide } from '../dist/supervisor/decide.js';
import type { Effect, Seat, SupervisorEvent } from '../dist/supervisor/events.js';
import {
  childrenOf,
  DEFAULT_POLICY,
  initialState,
  nextDueAtMs,
  type SupervisorState,
} from '../dist/supervisor/state.js';

interface Ending {
  drained?: boolean;
  held?: boolean;
  isHopeless?: boolean;
  neverWorked?: boolean;
}

/**
 * A world for the supervisor: processes that exist because it spawned them, and a clock that only moves
 * when told. Every property is checked after every event, whatever the event was.
 */
export class World {
  state: SupervisorState;
  nowMs = 0;
  exits: string[] = [];
  spawns: { slot: number; atMs: number }[] = [];
  effects: Effect[] = [];
  settled: string[] = [];
  /** Owners of what nobody put back before the end. */
  left: string[] = [];
  /** How each roll ended: null or its error. */
  rolls: (string | null)[] = [];
  /** Living processes by identity. */
  readonly alive = new Map<
    string,
    {
      slot: number;
      generation: number;
      ready: boolean;
      pace: 'quiet' | 'resume';
      told: 'stop' | 'kill' | null;
    }
  >();
  readonly asked = new Map<string, string>();
  /** What spawn does: `fork` or an error of the system. */
  canFork = true;
  random = 0.5;
  #count = 0;

  constructor(
    groups: { name: string; count: number }[] = [{ name: 'default', count: 3 }],
    policy = DEFAULT_POLICY,
  ) {
    this.state = initialState(groups, policy, 0);
    this.tick(0);
  }

  feed(event: SupervisorEvent): void {
    const { state, effects } = decide(this.state, event, { nowMs: this.nowMs, random: this.random });
    this.state = state;
    this.effects.push(...effects);
    for (const effect of effects) this.#carryOut(effect);
    this.#checkInvariants();
  }

  #carryOut(effect: Effect): void {
    if (effect.type === 'spawn') this.#spawn(effect.slot, effect.seat, effect.generation);
    if (effect.type === 'exit') this.exits.push(effect.reason);
    if (effect.type === 'settle') this.settled.push(effect.owner);
    if (effect.type === 'announceLeft') this.left.push(effect.owner);
    if (effect.type === 'release') this.asked.set(effect.releaseId, effect.by);
    if (effect.type === 'extendLocks') {
      const { owner, by } = effect;
      assert.ok(owner !== by && this.alive.has(owner) && this.alive.has(by), `${by} extends for ${owner}`);
    }
    if (effect.type === 'announceRoll') this.rolls.push(effect.error);
    if (effect.type === 'send' || effect.type === 'kill') {
      const child = this.alive.get(effect.identity);
      assert.ok(child, `${effect.type} for ${effect.identity}, which is gone`);
      if (effect.type === 'kill') child.told = 'kill';
      else if (effect.message.type === 'stop') child.told ??= 'stop';
      else if (effect.message.type === 'quiet' || effect.message.type === 'resume')
        child.pace = effect.message.type;
    }
  }

  #spawn(slot: number, seat: Seat, generation: number): void {
    assert.ok(!['stopping', 'stopped'].includes(this.state.phase), 'spawned after the stop began');
    this.spawns.push({ slot, atMs: this.nowMs });
    if (!this.canFork) return this.feed({ type: 'spawnFailed', slot, seat, error: 'EAGAIN' });
    const identity = `host:${++this.#count}:x`;
    this.alive.set(identity, { slot, generation, ready: false, pace: 'resume', told: null });
    this.feed({ type: 'childSpawned', slot, seat, identity, pid: this.#count, generation });
  }

  #checkInvariants(): void {
    const known = this.state.slots.flatMap(childrenOf).map(({ identity }) => identity);
    assert.deepEqual(known.toSorted(), [...this.alive.keys()].toSorted(), 'the table and the world differ');
    for (const group of new Set(this.state.slots.map((slot) => slot.group))) {
      const doubled = this.state.slots.filter((slot) => slot.group === group && childrenOf(slot).length > 1);
      const busy =
        this.state.phase !== 'stopping' &&
        !doubled.some(({ afterStop, state }) => state === 'stopping' && afterStop);
      if (busy) assert.ok(doubled.length <= 1, 'two replacements at a time in one group');
    }
    for (const slot of this.state.slots) {
      assert.ok(childrenOf(slot).length <= 2, 'three children in one slot');
      const hasChild = slot.child !== null;
      assert.ok(!(hasChild && ['backoff', 'failed'].includes(slot.state)), `a child sits in ${slot.state}`);
      if (slot.state === 'stopping')
        assert.ok(!slot.child || slot.dueAtMs !== null || slot.child.killedFor, 'a stop without end');
      if (slot.leaving)
        assert.ok(slot.leaving.dueAtMs !== null || slot.leaving.child.killedFor, 'leaves for ever');
    }
    for (const { state, child } of this.state.slots) {
      if ((state !== 'up' && state !== 'quiet') || !child || child.killedFor) continue;
      const { pace } = this.alive.get(child.identity) ?? {};
      assert.equal(
        pace,
        state === 'quiet' ? 'quiet' : 'resume',
        'a slot shows another pace than its child has',
      );
    }
    for (const { askedOf } of this.state.releases) {
      if (askedOf !== null) assert.ok(this.alive.has(askedOf), 'a dead child is asked to release');
    }
  }

  at(slot: number) {
    const identity = this.identityAt(slot);
    return identity === undefined ? undefined : this.alive.get(identity);
  }

  /** Who sits there; `next`: who comes up beside, `leaving`: who had the seat. */
  identityAt(index: number, who: 'child' | 'next' | 'leaving' = 'child'): string | undefined {
    const slot = this.state.slots.find((other) => other.index === index);
    if (who === 'child') return slot?.child?.identity;
    return (who === 'next' ? slot?.next?.child : slot?.leaving?.child)?.identity;
  }

  readyNext(slot: number): void {
    const identity = this.identityAt(slot, 'next');
    if (!identity) return;
    const child = this.alive.get(identity);
    if (child) child.ready = true;
    this.feed({ type: 'childReady', slot, identity, canRelease: true });
  }

  die(identity: string | undefined, how: Ending = {}): void {
    const child = identity === undefined ? undefined : this.alive.get(identity);
    if (identity === undefined || !child) return;
    this.alive.delete(identity);
    const { drained = false, held = true, isHopeless = false, neverWorked = false } = how;
    const ending = { drained, held, isHopeless, neverWorked };
    this.feed({ type: 'childExited', slot: child.slot, identity, ...ending });
  }

  ready(slot: number, canRelease = true): void {
    const identity = this.identityAt(slot);
    if (!identity) return;
    const child = this.alive.get(identity);
    if (child) child.ready = true;
    this.feed({ type: 'childReady', slot, identity, canRelease });
  }

  exit(slot: number, how: Ending = {}): string | undefined {
    const identity = this.identityAt(slot);
    this.die(identity, how);
    return identity;
  }

  tick(byMs: number): void {
    this.nowMs += byMs;
    this.feed({ type: 'tick' });
    const dueAtMs = nextDueAtMs(this.state);
    // the jitter of a backoff may be nothing at all
    const backsOff = this.state.slots.some((slot) => slot.child === null && slot.dueAtMs === this.nowMs);
    assert.ok(
      backsOff || dueAtMs === null || dueAtMs > this.nowMs,
      'a tick left something due: the next would come at once',
    );
  }

  /** Lets time pass as a master does: every second, and whenever something is due. */
  pass(ms: number): void {
    const endMs = this.nowMs + ms;
    while (this.nowMs < endMs) {
      const dueAtMs = nextDueAtMs(this.state) ?? Number.POSITIVE_INFINITY;
      const nextMs = Math.min(endMs, this.nowMs + 1_000, dueAtMs);
      this.tick(nextMs - this.nowMs);
      this.answerAll();
    }
  }

  answerAll(error: string | null = null): void {
    for (const [releaseId, by] of [...this.asked]) {
      this.asked.delete(releaseId);
      this.feed({ type: 'releaseAnswered', releaseId, by, error, unserved: [] });
    }
  }

  /** What children do when nothing is wrong with them. */
  obey(): void {
    for (const [identity, { told }] of [...this.alive]) {
      if (told === 'kill') this.die(identity);
      if (told === 'stop') this.die(identity, { drained: true });
    }
  }

  bury(): void {
    for (const [identity, { told }] of [...this.alive]) if (told === 'kill') this.die(identity);
  }

  states(): string[] {
    return this.state.slots.map(({ state }) => state);
  }
}
