import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decide } from '../dist/supervisor/decide.js';
import type { Effect, SupervisorEvent } from '../dist/supervisor/events.js';
import { DEFAULT_POLICY, initialState, nextDueAtMs, type SupervisorState } from '../dist/supervisor/state.js';

/**
 * A world for the supervisor: processes that exist because it spawned them, and a clock that only moves
 * when told. Every property is checked after every event, whatever the event was.
 */
class World {
  state: SupervisorState;
  nowMs = 0;
  exits: string[] = [];
  spawns: { slot: number; atMs: number }[] = [];
  effects: Effect[] = [];
  settled: string[] = [];
  /** Living processes by identity. */
  readonly alive = new Map<string, { slot: number; ready: boolean; told: 'stop' | 'kill' | null }>();
  readonly asked = new Map<string, string>();
  /** What spawn does: `fork` or an error of the system. */
  canFork = true;
  random = 0.5;
  #count = 0;

  constructor(groups: { name: string; count: number }[] = [{ name: 'default', count: 3 }], policy = DEFAULT_POLICY) {
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
    if (effect.type === 'spawn') this.#spawn(effect.slot);
    if (effect.type === 'exit') this.exits.push(effect.reason);
    if (effect.type === 'settle') this.settled.push(effect.owner);
    if (effect.type === 'release') this.asked.set(effect.releaseId, effect.by);
    if (effect.type === 'send' || effect.type === 'kill') {
      const child = this.at(effect.slot);
      assert.ok(child, `${effect.type} for slot ${effect.slot}, where nobody sits`);
      if (effect.type === 'kill') child.told = 'kill';
      else if (effect.message.type === 'stop') child.told ??= 'stop';
    }
  }

  #spawn(slot: number): void {
    assert.ok(!['stopping', 'stopped'].includes(this.state.phase), 'spawned after the stop began');
    this.spawns.push({ slot, atMs: this.nowMs });
    if (!this.canFork) return this.feed({ type: 'spawnFailed', slot, error: 'EAGAIN' });
    const identity = `host:${++this.#count}:x`;
    this.alive.set(identity, { slot, ready: false, told: null });
    this.feed({ type: 'childSpawned', slot, identity, pid: this.#count });
  }

  #checkInvariants(): void {
    const seats = [...this.alive.values()].map(({ slot }) => slot);
    assert.equal(new Set(seats).size, seats.length, 'two live children in one slot');
    for (const slot of this.state.slots) {
      const hasChild = slot.child !== null;
      assert.ok(!(hasChild && ['backoff', 'failed'].includes(slot.state)), `a child sits in ${slot.state}`);
      if (slot.state === 'stopping') assert.ok(slot.dueAtMs !== null || slot.child?.killedFor, 'a stop without end');
    }
    for (const { askedOf } of this.state.releases) {
      if (askedOf !== null) assert.ok(this.alive.has(askedOf), 'a dead child is asked to release');
    }
  }

  at(slot: number) {
    return [...this.alive.values()].find((child) => child.slot === slot);
  }

  identityAt(slot: number): string | undefined {
    return [...this.alive].find(([, child]) => child.slot === slot)?.[0];
  }

  ready(slot: number, canRelease = true): void {
    const identity = this.identityAt(slot);
    if (!identity) return;
    const child = this.alive.get(identity);
    if (child) child.ready = true;
    this.feed({ type: 'childReady', slot, identity, canRelease });
  }

  exit(slot: number, how: { drained?: boolean; held?: boolean } = {}): string | undefined {
    const identity = this.identityAt(slot);
    if (!identity) return undefined;
    this.alive.delete(identity);
    this.feed({ type: 'childExited', slot, identity, drained: how.drained ?? false, held: how.held ?? true });
    return identity;
  }

  tick(byMs: number): void {
    this.nowMs += byMs;
    this.feed({ type: 'tick' });
  }

  /** Lets time pass as a master does: every second, and whenever something is due. */
  pass(ms: number): void {
    const endMs = this.nowMs + ms;
    while (this.nowMs < endMs) {
      const dueAtMs = nextDueAtMs(this.state) ?? Number.POSITIVE_INFINITY;
      const nextMs = Math.min(endMs, this.nowMs + 1_000, Math.max(dueAtMs, this.nowMs + 1));
      this.tick(nextMs - this.nowMs);
      this.answerAll();
    }
  }

  answerAll(error: string | null = null): void {
    for (const [releaseId, by] of [...this.asked]) {
      this.asked.delete(releaseId);
      this.feed({ type: 'releaseAnswered', releaseId, by, error });
    }
  }

  /** What children do when nothing is wrong with them. */
  obey(): void {
    for (const { slot, told } of [...this.alive.values()]) {
      if (told === 'kill') this.exit(slot);
      if (told === 'stop') this.exit(slot, { drained: true });
    }
  }

  states(): string[] {
    return this.state.slots.map(({ state }) => state);
  }
}

describe('decide', () => {
  it('spawns every slot at the start, numbered through the groups', () => {
    const world = new World([
      { name: 'mail', count: 2 },
      { name: 'reports', count: 1 },
    ]);
    assert.deepEqual(
      world.state.slots.map(({ index, group, state }) => [index, group, state]),
      [
        [0, 'mail', 'starting'],
        [1, 'mail', 'starting'],
        [2, 'reports', 'starting'],
      ],
    );
    assert.equal(world.spawns.length, 3);
  });

  it('spawns at once after a healthy life, and backs off after a short one', () => {
    const world = new World();
    for (const slot of [0, 1, 2]) world.ready(slot);
    world.exit(0);
    assert.equal(world.state.slots[0]?.state, 'backoff');
    assert.equal(world.state.slots[0]?.dueAtMs, 250, 'half of the first ceiling');
    world.pass(10_000);
    world.ready(0);
    world.pass(10_000);
    world.exit(0);
    assert.equal(world.state.slots[0]?.state, 'starting', 'after 10 s as ready');
    assert.equal(world.state.slots[0]?.shortLives, 0);
  });

  it('doubles the ceiling of the backoff up to 30 s, for the flapping slot only', () => {
    const world = new World();
    world.ready(1);
    world.ready(2);
    world.random = 0.999_999;
    const waitsMs: number[] = [];
    for (let life = 0; life < 9; life++) {
      world.ready(0);
      world.exit(0);
      waitsMs.push((world.state.slots[0]?.dueAtMs ?? 0) - world.nowMs);
      world.pass(31_000);
    }
    assert.deepEqual(waitsMs, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    assert.deepEqual(world.states().slice(1), ['up', 'up']);
    world.pass(20_000);
    world.exit(1);
    assert.equal(world.state.slots[1]?.state, 'starting', 'a healthy slot is not slowed');
  });

  it('gives up when the app failed to boot three times in each slot, and never after a child was ready', () => {
    const failing = new World();
    for (let boot = 0; boot < 3; boot++) {
      assert.deepEqual(failing.exits, []);
      for (const slot of [0, 1, 2]) failing.exit(slot, { held: false });
      failing.pass(10_000);
    }
    assert.deepEqual(failing.exits, ['app-failed']);
    assert.equal(failing.spawns.length, 9, 'nine boots and no storm');

    const flapping = new World();
    flapping.ready(2);
    for (let boot = 0; boot < 50; boot++) {
      for (const slot of [0, 1, 2]) flapping.exit(slot);
      flapping.pass(31_000);
    }
    assert.deepEqual(flapping.exits, []);
    assert.equal(flapping.spawns.length, 3 * 51);
  });

  it('revives slots that were given up as soon as one child boots', () => {
    const world = new World();
    for (let boot = 0; boot < 3; boot++) {
      world.exit(0);
      world.exit(1);
      world.pass(5_000);
    }
    assert.deepEqual(world.states(), ['failed', 'failed', 'starting']);
    world.ready(2);
    world.pass(1);
    assert.deepEqual(world.states(), ['starting', 'starting', 'up']);
  });

  it('kills a child that is not ready at the boot timeout, unless Redis is away', () => {
    const world = new World();
    world.feed({ type: 'redisLost' });
    world.pass(300_000);
    assert.equal([...world.alive.values()].filter(({ told }) => told === 'kill').length, 0);
    world.feed({ type: 'redisBack' });
    world.pass(59_000);
    assert.equal([...world.alive.values()].filter(({ told }) => told === 'kill').length, 0);
    world.pass(2_000);
    assert.equal([...world.alive.values()].filter(({ told }) => told === 'kill').length, 3);
  });

  it('stops within the drain budget and its grace, whatever the children do', () => {
    const world = new World();
    for (const slot of [0, 1]) world.ready(slot);
    world.feed({ type: 'stopRequested' });
    assert.ok([...world.alive.values()].every(({ told }) => told === 'stop'));
    world.exit(0, { drained: true });
    world.pass(27_000);
    assert.equal(world.at(1)?.told, 'stop');
    world.pass(1_000);
    assert.equal(world.at(1)?.told, 'kill');
    world.obey();
    assert.deepEqual(world.exits, ['killed']);
  });

  it('counts repeated stops once, and leaves at once when forced', () => {
    const world = new World();
    for (const slot of [0, 1, 2]) world.ready(slot);
    world.feed({ type: 'stopRequested' });
    const dueAtMs = world.state.slots[0]?.dueAtMs;
    world.pass(5_000);
    world.feed({ type: 'stopRequested' });
    assert.equal(world.state.slots[0]?.dueAtMs, dueAtMs);
    world.feed({ type: 'stopForced' });
    assert.equal(world.state.slots[0]?.dueAtMs, world.nowMs + DEFAULT_POLICY.stopGraceMs);
    world.obey();
    assert.deepEqual(world.exits, ['forced']);
  });

  it('moves its deadlines when the clock jumps, and kills nobody for the gap', () => {
    const world = new World();
    world.tick(3_600_000);
    assert.equal([...world.alive.values()].filter(({ told }) => told !== null).length, 0);
    world.pass(59_000);
    assert.equal([...world.alive.values()].filter(({ told }) => told !== null).length, 0);
    world.pass(2_000);
    assert.equal([...world.alive.values()].filter(({ told }) => told === 'kill').length, 3);
  });

  it('keeps a child quiet that became ready after the order, and resumes all', () => {
    const world = new World();
    world.ready(0);
    world.feed({ type: 'quietRequested' });
    world.ready(1);
    assert.deepEqual(world.states(), ['quiet', 'quiet', 'starting']);
    world.feed({ type: 'resumeRequested' });
    assert.deepEqual(world.states(), ['up', 'up', 'starting']);
  });

  it('tries again when the system cannot fork, and does not blame the app', () => {
    const world = new World();
    for (const slot of [0, 1, 2]) world.ready(slot);
    world.canFork = false;
    world.exit(0);
    world.pass(600_000);
    assert.deepEqual(world.states().slice(1), ['up', 'up']);
    assert.ok(world.spawns.length < 60, 'backs off');
    world.canFork = true;
    world.pass(31_000);
    assert.equal(world.states()[0], 'starting');
    assert.deepEqual(world.exits, []);
  });
});

describe('release of a dead child', () => {
  it('is asked of a ready sibling at once, and swept again after 1 s and 5 s', () => {
    const world = new World();
    for (const slot of [0, 1, 2]) world.ready(slot);
    const owner = world.exit(0) as string;
    assert.ok(world.asked.get(owner), 'asked within the same event');
    const asks = (): number => world.effects.filter(({ type }) => type === 'release').length;
    world.answerAll();
    world.pass(900);
    assert.equal(asks(), 1);
    world.pass(200);
    assert.equal(asks(), 2);
    world.pass(5_000);
    assert.equal(asks(), 3);
    assert.deepEqual(world.settled, [owner]);
    assert.equal(world.state.releases.length, 0);
  });

  it('is asked of another when the sibling dies, fails or does not answer', () => {
    const world = new World();
    for (const slot of [0, 1, 2]) world.ready(slot);
    const owner = world.exit(0) as string;
    const first = world.asked.get(owner);
    world.tick(3_100);
    const second = world.asked.get(owner);
    assert.notEqual(second, first, 'no answer within 3 s');
    world.answerAll('READONLY');
    world.tick(600);
    assert.equal(world.asked.get(owner), first, 'it failed: the other one');
    for (const slot of [1, 2]) if (world.identityAt(slot) === first) world.exit(slot);
    assert.equal(world.asked.get(owner), second, 'it died: the other one, in the same event');
  });

  it('waits for the replacement where no sibling lives', () => {
    const world = new World([{ name: 'default', count: 1 }]);
    world.ready(0);
    const owner = world.exit(0) as string;
    world.pass(60_000);
    assert.equal(world.effects.filter(({ type }) => type === 'release').length, 0);
    world.ready(0);
    assert.ok(world.asked.get(owner), 'its first act');
  });

  it('is not asked for a child that handed everything back, nor of another group', () => {
    const world = new World([
      { name: 'a', count: 1 },
      { name: 'b', count: 2 },
    ]);
    for (const slot of [0, 1, 2]) world.ready(slot);
    world.exit(1, { drained: true });
    assert.equal(world.state.releases.length, 0);
    world.exit(0);
    assert.equal(world.asked.size, 0, 'group b runs other queues');
  });
});

type Step =
  | { do: 'ready' | 'exit' | 'drainedExit'; slot: number }
  | { do: 'pass'; ms: number }
  | { do: 'quiet' | 'resume' | 'lost' | 'back' | 'obey' | 'answer' | 'failAnswer' | 'toggleFork' | 'stop' | 'force' };

const slotStep = fc.record({
  do: fc.constantFrom('ready' as const, 'exit' as const, 'drainedExit' as const),
  slot: fc.nat(4),
});
const timeStep = fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 40_000 }) });
const calmStep = fc.record({
  do: fc.constantFrom(
    ...(['quiet', 'resume', 'lost', 'back', 'obey', 'answer', 'failAnswer', 'toggleFork'] as const),
  ),
});
const stopStep = fc.record({ do: fc.constantFrom('stop' as const, 'force' as const) });
const calmSteps = fc.array(fc.oneof({ weight: 4, arbitrary: slotStep }, timeStep, calmStep), { maxLength: 60 });
const anySteps = fc.array(fc.oneof({ weight: 4, arbitrary: slotStep }, timeStep, calmStep, stopStep), { maxLength: 60 });

function play(world: World, step: Step): void {
  switch (step.do) {
    case 'ready':
      return world.ready(step.slot);
    case 'exit':
      world.exit(step.slot);
      return;
    case 'drainedExit':
      world.exit(step.slot, { drained: true });
      return;
    case 'pass':
      return world.pass(step.ms);
    case 'quiet':
      return world.feed({ type: 'quietRequested' });
    case 'resume':
      return world.feed({ type: 'resumeRequested' });
    case 'lost':
      return world.feed({ type: 'redisLost' });
    case 'back':
      return world.feed({ type: 'redisBack' });
    case 'stop':
      return world.feed({ type: 'stopRequested' });
    case 'force':
      return world.feed({ type: 'stopForced' });
    case 'obey':
      return world.obey();
    case 'answer':
      return world.answerAll();
    case 'failAnswer':
      return world.answerAll('LOADING');
    case 'toggleFork':
      world.canFork = !world.canFork;
  }
}

describe('after any sequence of faults', () => {
  it('the count converges: all slots are up again, nothing is owed', () => {
    fc.assert(
      fc.property(calmSteps, fc.double({ min: 0, max: 0.999, noNaN: true }), (steps, random) => {
        const world = new World([
          { name: 'a', count: 3 },
          { name: 'b', count: 2 },
        ]);
        world.random = random;
        // one child was ready once: failing boots no longer end the master
        world.ready(0);
        world.ready(3);
        for (const step of steps) play(world, step);
        world.canFork = true;
        world.feed({ type: 'redisBack' });
        world.feed({ type: 'resumeRequested' });
        for (let round = 0; round < 4; round++) {
          world.obey();
          world.pass(31_000);
          for (const slot of [0, 1, 2, 3, 4]) world.ready(slot);
        }
        world.pass(30_000);
        assert.deepEqual(world.states(), ['up', 'up', 'up', 'up', 'up']);
        assert.deepEqual(world.state.releases, []);
      }),
      { numRuns: 150 },
    );
  });

  it('every stop ends within its budget, and nothing is spawned after it', () => {
    fc.assert(
      fc.property(anySteps, (steps) => {
        const world = new World([{ name: 'default', count: 5 }]);
        for (const step of steps) play(world, step);
        world.feed({ type: 'stopRequested' });
        const { drainTimeoutMs, stopGraceMs } = DEFAULT_POLICY;
        // nobody obeys a stop; only a kill ends them
        const untilMs = world.nowMs + drainTimeoutMs + stopGraceMs;
        while (world.nowMs <= untilMs && world.state.phase !== 'stopped') {
          for (const { slot, told } of [...world.alive.values()]) if (told === 'kill') world.exit(slot);
          world.tick(500);
        }
        for (const { slot, told } of [...world.alive.values()]) if (told === 'kill') world.exit(slot);
        assert.equal(world.state.phase, 'stopped');
        assert.equal(world.exits.length, 1);
        assert.equal(world.alive.size, 0);
      }),
      { numRuns: 150 },
    );
  });

  it('old news changes nothing', () => {
    fc.assert(
      fc.property(calmSteps, fc.nat(4), (steps, slot) => {
        const world = new World([{ name: 'default', count: 5 }]);
        for (const step of steps) play(world, step);
        const before = world.state;
        const moment = { nowMs: before.lastTickAtMs, random: 0 };
        const exit = { type: 'childExited', slot, identity: 'gone', drained: false, held: true } as const;
        const ready = { type: 'childReady', slot, identity: 'gone', canRelease: true } as const;
        assert.deepEqual(decide(before, exit, moment).state.slots, before.slots);
        assert.deepEqual(decide(before, ready, moment).state.slots, before.slots);
      }),
    );
  });
});
