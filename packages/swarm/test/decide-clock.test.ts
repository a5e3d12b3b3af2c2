/** What a jump of the clock must not bring about, and what a stop or scale-down meets in the middle of something else. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DEFAULT_POLICY } from '../dist/supervisor/state.js';
import { World } from './supervisor-world.js';

const HOUR_MS = 3_600_000;

function up(count = 3): World {
  const world = new World([{ name: 'default', count }]);
  for (let slot = 0; slot < count; slot += 1) world.ready(slot);
  world.pass(20_000);
  return world;
}

function told(world: World, what: 'stop' | 'kill'): number {
  return [...world.alive.values()].filter((child) => child.told === what).length;
}

function releasesAsked(world: World): string[] {
  return world.effects.flatMap((effect) => (effect.type === 'release' ? [effect.by] : []));
}

describe('a jump of the clock', () => {
  it('gives a replacement that boots the rest of its time', () => {
    const world = up();
    world.feed({ type: 'rollRequested' });
    assert.ok(world.identityAt(0, 'next'));
    world.pass(30_000);
    world.tick(HOUR_MS);
    world.pass(DEFAULT_POLICY.bootTimeoutMs - 31_000);
    assert.equal(told(world, 'kill'), 0);
    world.pass(2_000);
    assert.equal(told(world, 'kill'), 1);
  });

  it('gives a replacement that settles the rest of its moment, and then the seat', () => {
    const world = up();
    const old = world.identityAt(0);
    world.feed({ type: 'rollRequested' });
    world.readyNext(0);
    world.tick(HOUR_MS);
    assert.equal(world.identityAt(0), old);
    world.pass(DEFAULT_POLICY.settleMs);
    assert.notEqual(world.identityAt(0), old);
  });

  it('gives a child that leaves the rest of its drain', () => {
    const world = up();
    world.feed({ type: 'rollRequested' });
    world.readyNext(0);
    world.pass(DEFAULT_POLICY.settleMs);
    assert.ok(world.identityAt(0, 'leaving'));
    world.pass(10_000);
    world.tick(HOUR_MS);
    world.pass(DEFAULT_POLICY.drainTimeoutMs + DEFAULT_POLICY.stopGraceMs - 11_000);
    assert.equal(told(world, 'kill'), 0);
    world.pass(2_000);
    assert.equal(told(world, 'kill'), 1);
  });

  it('gives a sibling that releases the rest of its time to answer', () => {
    const world = up();
    world.exit(0);
    assert.equal(releasesAsked(world).length, 1);
    world.tick(HOUR_MS);
    world.tick(DEFAULT_POLICY.releaseAnswerMs - 1);
    assert.equal(releasesAsked(world).length, 1);
    world.tick(1);
    assert.equal(releasesAsked(world).length, 2, 'another is asked');
  });
});

describe('in the middle of something else', () => {
  it('a scale-down removes a child that leaves for a recycle without overlap, and nobody follows it', () => {
    const world = up();
    const identity = world.identityAt(2) as string;
    world.feed({ type: 'recycleRequested', slot: 2, identity, detail: 'max-memory', overlap: false });
    assert.equal(world.at(2)?.told, 'stop');
    world.feed({ type: 'scaleRequested', group: 'default', count: 2 });
    world.obey();
    world.pass(40_000);
    assert.equal(world.alive.size, 2);
    assert.deepEqual(
      world.state.slots.map(({ index, state }) => [index, state]),
      [
        [0, 'up'],
        [1, 'up'],
      ],
    );
  });

  it('children that leave are asked to release, where no other is left', () => {
    const world = up(2);
    world.feed({ type: 'stopRequested' });
    world.exit(0);
    assert.deepEqual(releasesAsked(world), [world.identityAt(1)]);
  });

  it('children that leave are asked last, and no longer than those that stay', () => {
    const world = up();
    world.feed({ type: 'removeRequested', slot: 1 });
    world.exit(0);
    assert.deepEqual(releasesAsked(world), [world.identityAt(2)]);
    world.tick(DEFAULT_POLICY.releaseAnswerMs);
    assert.deepEqual(
      releasesAsked(world).slice(1),
      [world.identityAt(1)],
      'the one that failed comes after it',
    );
  });
});
