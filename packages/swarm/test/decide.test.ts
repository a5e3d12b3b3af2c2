import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decide } from '../dist/supervisor/decide.js';
import { staying } from '../dist/supervisor/scale.js';
import { DEFAULT_POLICY } from '../dist/supervisor/state.js';
import { World } from './supervisor-world.js';

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

  it('gives up at once when the first file that ends by itself has no Worker', () => {
    const ended = { held: false, neverWorked: true };
    const world = new World();
    world.exit(1, ended);
    assert.deepEqual(world.states(), ['stopping', 'stopping']);
    const announced = world.effects.filter((effect) => effect.type === 'announceExit');
    assert.deepEqual(
      announced.map(({ slot, restartInMs }) => [slot, restartInMs]),
      [[1, null]],
    );
    // its siblings run the same file
    for (const slot of [0, 2]) world.exit(slot, ended);
    assert.deepEqual(world.exits, ['app-failed']);
    assert.equal(world.spawns.length, 3, 'once in each slot');

    const alone = new World([{ name: 'default', count: 1 }]);
    alone.exit(0, ended);
    assert.deepEqual(alone.exits, ['app-failed']);
  });

  it('tries again where such a file is not the first thing seen of the app', () => {
    const ended = { held: false, neverWorked: true };
    const restarted = new World();
    restarted.ready(0);
    for (const slot of [0, 1]) restarted.exit(slot, ended);
    restarted.pass(1_000);
    assert.deepEqual([restarted.exits, restarted.spawns.length], [[], 5]);

    const rolled = new World([{ name: 'default', count: 1 }]);
    rolled.exit(0, { held: false });
    rolled.feed({ type: 'rollRequested' });
    rolled.pass(1_000);
    rolled.exit(0, ended);
    assert.deepEqual([rolled.exits, rolled.states()], [[], ['backoff']]);

    const stopped = new World([{ name: 'default', count: 1 }]);
    stopped.feed({ type: 'stopRequested' });
    stopped.exit(0, ended);
    assert.deepEqual(stopped.exits, ['stopped']);
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
    world.feed({ type: 'quietRequested', slot: null });
    world.ready(1);
    assert.deepEqual(world.states(), ['quiet', 'quiet', 'starting']);
    world.feed({ type: 'resumeRequested', slot: null });
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
  it('asks again, and others first, for queues that no child works for yet; then says so once and goes on', () => {
    const world = new World();
    for (const slot of [0, 1, 2]) world.ready(slot);
    const owner = world.exit(0) as string;
    const asked: string[] = [];
    const answer = (): void => {
      for (const [releaseId, by] of [...world.asked]) {
        world.asked.delete(releaseId);
        asked.push(by);
        world.feed({ type: 'releaseAnswered', releaseId, by, error: null, unserved: ['late'] });
      }
    };
    const warnings = () =>
      world.effects.filter((effect) => effect.type === 'log' && effect.fields['owner'] === owner);
    for (let at = 0; at < 12; at += 1) {
      answer();
      world.tick(500);
    }
    assert.notEqual(asked[0], asked[1]);
    assert.ok(asked.length > 10, `asked ${asked.length} times`);
    assert.deepEqual([warnings().length, world.state.releases[0]?.sweepsDone], [0, 0]);
    for (let at = 0; at < 20; at += 1) {
      answer();
      world.tick(500);
    }
    assert.equal(warnings().length, 1);
    assert.deepEqual(world.settled, [owner]);
  });

  it('of a predecessor is asked of every child, and is partial where none of them works for its queues', () => {
    const world = new World([
      { name: 'mail', count: 2 },
      { name: 'img', count: 2 },
    ]);
    for (const slot of [0, 1, 2, 3]) world.ready(slot);
    for (const [owner, server] of [
      ['served', world.identityAt(3)],
      ['unserved', undefined],
    ] as const) {
      world.feed({ type: 'predecessorFound', owner });
      const asked = new Set<string>();
      for (let at = 0; at < 80; at += 1) {
        const by = world.asked.get(owner);
        if (by !== undefined) {
          world.asked.delete(owner);
          asked.add(by);
          const unserved = by === server ? [] : ['pictures'];
          world.feed({ type: 'releaseAnswered', releaseId: owner, by, error: null, unserved });
        }
        world.tick(250);
      }
      assert.equal(asked.size, 4, owner);
    }
    const settled = world.effects.filter((effect) => effect.type === 'settle');
    assert.deepEqual(settled, [
      { type: 'settle', owner: 'served', isPartial: false },
      { type: 'settle', owner: 'unserved', isPartial: true },
    ]);
  });

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

  it('is tried ever more seldom while it fails, and at once when Redis is back', () => {
    const world = new World([{ name: 'default', count: 2 }]);
    for (const slot of [0, 1]) world.ready(slot);
    const owner = world.exit(0) as string;
    const asks: number[] = [];
    const untilMs = world.nowMs + 60_000;
    while (world.nowMs < untilMs) {
      if (world.asked.has(owner)) asks.push(world.nowMs);
      world.answerAll('away');
      world.tick(100);
    }
    const gaps = asks.slice(1).map((atMs, at) => atMs - (asks[at] as number));
    assert.deepEqual(gaps.slice(0, 6), [500, 1_000, 2_000, 4_000, 5_000, 5_000]);
    world.tick(100);
    assert.equal(world.asked.has(owner), false);
    world.feed({ type: 'redisBack' });
    assert.equal(world.asked.has(owner), true);
  });

  it('is over at a stop once a sweep has confirmed it, and is left to a successor otherwise', () => {
    for (const answers of [true, false]) {
      const world = new World();
      for (const slot of [0, 1, 2]) world.ready(slot);
      const owner = world.exit(0) as string;
      if (answers) world.answerAll();
      world.feed({ type: 'stopRequested' });
      world.obey();
      assert.deepEqual(world.exits, [answers ? 'stopped' : 'left']);
      assert.deepEqual(world.settled, answers ? [owner] : []);
      assert.deepEqual(world.left, answers ? [] : [owner]);
    }
  });

  it('is not named at a stop for a child that was never ready', () => {
    const world = new World();
    world.ready(0);
    const owner = world.exit(1) as string;
    world.feed({ type: 'stopRequested' });
    world.obey();
    assert.deepEqual([world.exits, world.left, world.settled], [['stopped'], [], [owner]]);
  });

  it('is named at a stop for each child that could not hand back, and no sibling did it', () => {
    const world = new World();
    for (const slot of [0, 1, 2]) world.ready(slot);
    world.feed({ type: 'stopRequested' });
    const owners = [world.exit(0), world.exit(1, { held: false, isHopeless: true })];
    world.exit(2, { drained: true });
    assert.deepEqual(world.exits, ['left']);
    assert.deepEqual(world.left.toSorted(), owners.toSorted());
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

describe('roll', () => {
  function upAndRolling(count = 3): World {
    const world = new World([{ name: 'default', count }]);
    for (let slot = 0; slot < count; slot++) world.ready(slot);
    world.pass(20_000);
    world.feed({ type: 'rollRequested' });
    return world;
  }

  it('replaces one child at a time, and each old one only after its successor has settled', () => {
    const world = upAndRolling();
    for (const slot of [0, 1, 2]) {
      const old = world.identityAt(slot) as string;
      assert.equal(world.alive.size, 4, 'one more than wanted');
      assert.equal(world.alive.get(old)?.told, null);
      world.readyNext(slot);
      assert.equal(world.alive.get(old)?.told, null, 'not settled yet');
      world.pass(1_100);
      assert.equal(world.alive.get(old)?.told, 'stop');
      world.obey();
    }
    assert.deepEqual(world.rolls, [null]);
    assert.deepEqual(
      [...world.alive.values()].map(({ generation }) => generation),
      [1, 1, 1],
    );
    assert.deepEqual(
      world.state.slots.map(({ restarts }) => restarts),
      [0, 0, 0],
      'planned: no restarts',
    );
  });

  it('stops at the first new child that does not boot, and leaves the old ones working', () => {
    const world = upAndRolling();
    const before = [0, 1, 2].map((slot) => world.identityAt(slot));
    world.readyNext(0);
    world.pass(1_100);
    world.obey();
    world.die(world.identityAt(1, 'next'), { held: false });
    world.pass(120_000);
    assert.deepEqual(world.rolls, ['the new child did not live']);
    assert.deepEqual(world.states(), ['up', 'up', 'up']);
    assert.deepEqual(
      [1, 2].map((slot) => world.identityAt(slot)),
      before.slice(1),
    );
    assert.equal(world.alive.size, 3);
  });

  it('gives up on a new child that is not ready at the boot timeout', () => {
    const world = upAndRolling();
    world.pass(61_000);
    world.obey();
    world.pass(61_000);
    assert.deepEqual(world.rolls, ['the new child did not live']);
    assert.equal(world.alive.size, 3);
  });

  it('promotes the successor when the old child dies under it', () => {
    const world = upAndRolling(2);
    world.exit(0);
    assert.equal(world.states()[0], 'starting', 'the successor is still booting, and now in the seat');
    world.ready(0);
    world.readyNext(1);
    world.pass(1_100);
    world.obey();
    assert.deepEqual(world.rolls, [null]);
    assert.equal(world.alive.size, 2);
  });

  it('runs once more, not a thousand times, when asked again meanwhile', () => {
    const world = upAndRolling(1);
    for (let i = 0; i < 1_000; i++) world.feed({ type: 'rollRequested' });
    for (let i = 0; i < 5; i++) {
      world.readyNext(0);
      world.pass(1_100);
      world.obey();
    }
    assert.deepEqual(world.rolls, [null, null]);
    assert.equal(world.state.generation, 2);
  });
});

describe('recycle, scale, kill', () => {
  const recycle = (world: World, slot: number, overlap = true): void => {
    const identity = world.identityAt(slot) as string;
    world.feed({ type: 'recycleRequested', slot, identity, detail: 'max-memory', overlap });
  };

  it('recycles children that ask together one after the other, capacity never under N - 1', () => {
    for (const overlap of [true, false]) {
      const world = new World();
      for (const slot of [0, 1, 2]) world.ready(slot);
      for (const slot of [0, 1, 2]) recycle(world, slot, overlap);
      const first = [0, 1, 2].map((slot) => world.identityAt(slot));
      for (let round = 0; round < 12; round++) {
        const serving = world.state.slots.filter(({ state }) => state === 'up').length;
        assert.ok(serving >= 2, `${serving} of 3 are up`);
        for (const slot of [0, 1, 2]) {
          world.ready(slot);
          world.readyNext(slot);
        }
        world.pass(1_100);
        world.obey();
      }
      assert.deepEqual(world.states(), ['up', 'up', 'up']);
      for (const slot of [0, 1, 2]) assert.notEqual(world.identityAt(slot), first[slot]);
    }
  });

  it('tries a recycle again whose replacement does not boot, and keeps the old child meanwhile', () => {
    const world = new World();
    for (const slot of [0, 1, 2]) world.ready(slot);
    recycle(world, 0);
    const old = world.identityAt(0);
    world.die(world.identityAt(0, 'next'), { held: false });
    assert.equal(world.identityAt(0), old);
    world.pass(46_000);
    assert.ok(world.identityAt(0, 'next'), 'another try');
    world.readyNext(0);
    world.pass(1_100);
    assert.notEqual(world.identityAt(0), old);
  });

  it('keeps to a roll that was asked for while the replacement of a recycle did not boot', () => {
    const world = new World([{ name: 'default', count: 1 }]);
    world.ready(0);
    world.pass(20_000);
    const identity = world.identityAt(0) ?? '';
    world.feed({ type: 'recycleRequested', slot: 0, identity, detail: 'memory', overlap: true });
    world.feed({ type: 'rollRequested' });
    world.die(world.identityAt(0, 'next'), { held: false });
    assert.deepEqual(world.rolls, [], 'the roll is not over');
    world.readyNext(0);
    world.pass(2_000);
    world.obey();
    assert.deepEqual(world.rolls, [null]);
    assert.equal(world.at(0)?.generation, 1);
  });

  it('scales up and down, emptying the highest slots', () => {
    const world = new World();
    for (const slot of [0, 1, 2]) world.ready(slot);
    world.feed({ type: 'scaleRequested', group: 'default', count: 5 });
    world.pass(1);
    assert.equal(world.alive.size, 5);
    world.feed({ type: 'scaleRequested', group: 'default', count: 1 });
    world.obey();
    assert.deepEqual(
      world.state.slots.map(({ index }) => index),
      [0],
    );
    world.feed({ type: 'scaleRequested', group: 'default', count: 2 });
    world.pass(1);
    assert.equal(world.alive.size, 2);
    assert.deepEqual(world.exits, [], 'a slot that is removed does not end the master');
  });

  it('kills the very child that was named, wherever it sits', () => {
    const world = new World();
    for (const slot of [0, 1, 2]) world.ready(slot);
    const identity = world.identityAt(1) as string;
    world.feed({ type: 'killRequested', identity, reason: 'max-memory-hard' });
    world.feed({ type: 'killRequested', identity, reason: 'max-memory-hard' });
    assert.equal(world.effects.filter(({ type }) => type === 'kill').length, 1);
    world.obey();
    const exit = world.effects.find(
      (effect) => effect.type === 'announceExit' && effect.identity === identity,
    );
    assert.equal(exit?.type === 'announceExit' && exit.killedFor, 'max-memory-hard');
    assert.equal(world.states()[1], 'backoff');
  });
});

type Step =
  | {
      do:
        | 'ready'
        | 'exit'
        | 'endEarly'
        | 'drainedExit'
        | 'readyNext'
        | 'dieNext'
        | 'dieLeaving'
        | 'recycle'
        | 'replace'
        | 'giveUp'
        | 'giveUpLeaving'
        | 'block'
        | 'unblock'
        | 'kill';
      slot: number;
    }
  | { do: 'pass'; ms: number }
  | {
      do:
        | 'quiet'
        | 'resume'
        | 'lost'
        | 'back'
        | 'obey'
        | 'answer'
        | 'failAnswer'
        | 'toggleFork'
        | 'stop'
        | 'force'
        | 'roll';
    }
  | { do: 'scale'; count: number };

const slotStep = fc.record({
  do: fc.constantFrom(
    ...(['ready', 'ready', 'exit', 'endEarly', 'drainedExit', 'readyNext', 'readyNext'] as const),
    ...(['dieNext', 'dieLeaving', 'recycle', 'replace', 'kill'] as const),
    ...(['giveUp', 'giveUpLeaving', 'block', 'unblock'] as const),
  ),
  slot: fc.nat(4),
});
const timeStep = fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 40_000 }) });
const calmStep = fc.record({
  do: fc.constantFrom(
    ...([
      'quiet',
      'resume',
      'lost',
      'back',
      'obey',
      'obey',
      'answer',
      'failAnswer',
      'toggleFork',
      'roll',
    ] as const),
  ),
});
const stopStep = fc.record({ do: fc.constantFrom('stop' as const, 'force' as const) });
const scaleStep = fc.record({ do: fc.constant('scale' as const), count: fc.integer({ min: 1, max: 6 }) });
const slots = { weight: 4, arbitrary: slotStep };
const calmSteps = fc.array(fc.oneof(slots, timeStep, calmStep), { maxLength: 60 });
const anySteps = fc.array(fc.oneof(slots, timeStep, calmStep, scaleStep, stopStep), { maxLength: 60 });

function play(world: World, step: Step): void {
  switch (step.do) {
    case 'ready':
      return world.ready(step.slot);
    case 'exit':
      world.exit(step.slot);
      return;
    case 'endEarly': {
      const identity = world.identityAt(step.slot);
      const neverWorked = identity !== undefined && world.alive.get(identity)?.ready === false;
      world.exit(step.slot, { held: false, neverWorked });
      return;
    }
    case 'drainedExit':
      world.exit(step.slot, { drained: true });
      return;
    case 'readyNext':
      return world.readyNext(step.slot);
    case 'dieNext':
      return world.die(world.identityAt(step.slot, 'next'));
    case 'dieLeaving':
      return world.die(world.identityAt(step.slot, 'leaving'), { drained: true });
    case 'recycle':
    case 'replace': {
      const identity = world.identityAt(step.slot) ?? 'nobody';
      const overlap = step.do === 'recycle';
      return world.feed({ type: 'recycleRequested', slot: step.slot, identity, detail: 'command', overlap });
    }
    case 'giveUp':
    case 'giveUpLeaving': {
      const { slot } = step;
      const identity = world.identityAt(slot, step.do === 'giveUp' ? 'child' : 'leaving') ?? 'nobody';
      const job = { queue: 'q', id: '1', startedAtMs: world.nowMs, reason: 'too long' };
      return world.feed({ type: 'jobGivenUp', slot, identity, job, isAlone: world.nowMs % 2 === 0 });
    }
    case 'block': {
      const { slot } = step;
      const identity = world.identityAt(slot) ?? 'nobody';
      const times = { silentMs: 12_000, blockedMs: 12_000 };
      world.feed({ type: 'childBlocked', slot, identity, kind: 'running', ...times });
      return world.feed({ type: 'renewalMissed', slot, identity, everyMs: 7_500 });
    }
    case 'unblock': {
      const { slot } = step;
      return world.feed({ type: 'childUnblocked', slot, identity: world.identityAt(slot) ?? 'nobody' });
    }
    case 'kill': {
      const identity = world.identityAt(step.slot) ?? 'nobody';
      return world.feed({ type: 'killRequested', identity, reason: 'max-memory-hard' });
    }
    case 'roll':
      return world.feed({ type: 'rollRequested' });
    case 'scale':
      return world.feed({ type: 'scaleRequested', group: 'default', count: step.count });
    case 'pass':
      return world.pass(step.ms);
    case 'quiet':
      return world.feed({ type: 'quietRequested', slot: null });
    case 'resume':
      return world.feed({ type: 'resumeRequested', slot: null });
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
        world.feed({ type: 'resumeRequested', slot: null });
        // from here on every child boots, settles and obeys: two rolls and five recycles may be under way
        for (let round = 0; round < 40; round++) {
          world.obey();
          world.pass(round < 6 ? 46_000 : 1_100);
          for (const slot of [0, 1, 2, 3, 4]) {
            world.ready(slot);
            world.readyNext(slot);
          }
        }
        world.pass(30_000);
        assert.deepEqual(world.states(), ['up', 'up', 'up', 'up', 'up']);
        assert.equal(world.alive.size, 5);
        assert.equal(world.state.roll, 'none');
        assert.ok([...world.alive.values()].every(({ told }) => told === null));
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
          world.bury();
          world.tick(500);
        }
        world.bury();
        assert.equal(world.state.phase, 'stopped');
        assert.equal(world.exits.length, 1);
        assert.ok(world.exits[0] !== 'stopped' || world.left.length === 0, 'jobs are left without a word');
        assert.equal(world.alive.size, 0);
      }),
      { numRuns: 150 },
    );
  });

  it('no group loses its last slot by removals, however many are asked for', () => {
    const steps = fc.array(fc.tuple(fc.nat(4), fc.constantFrom('remove', 'exit', 'ready', 'obey')), {
      maxLength: 40,
    });
    fc.assert(
      fc.property(steps, (asked) => {
        const groups = [
          { name: 'a', count: 2 },
          { name: 'b', count: 3 },
        ];
        const world = new World(groups);
        world.ready(0);
        world.ready(2);
        for (const [slot, what] of asked) {
          if (what === 'remove') world.feed({ type: 'removeRequested', slot });
          else if (what === 'obey') world.obey();
          else play(world, { do: what as 'exit' | 'ready', slot });
          for (const { name } of groups) assert.ok(staying(world.state, name).length >= 1, name);
        }
      }),
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
