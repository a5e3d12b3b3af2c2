import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  CLOSE_LOOK_MS,
  LOOK_MS,
  type LoopWatch,
  lookOf,
  nextLook,
  pauseMs,
  type Sight,
  startWatch,
  type ThreadSight,
} from '../dist/child/loop-watch.js';

/** Looks in a row, each so long after the one before. */
function looks(
  steps: readonly { gapMs: number; tick?: number; debug?: boolean; thread?: ThreadSight | null }[],
) {
  let atMs = 1_000;
  let watch: LoopWatch = startWatch({ atMs, tick: 0, thread: { state: 'R', cpuMs: 0 } });
  for (const { gapMs, tick = 0, debug = false, thread = null } of steps) {
    atMs += gapMs;
    const sight: Sight = { atMs, tick, hasDebugger: debug, thread };
    watch = nextLook(watch, sight);
  }
  return lookOf(watch);
}

const repeat = <T>(count: number, step: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => step(i));

describe('a watch over a main loop', () => {
  it('sees nothing in a loop that ticks, however it is looked at', () => {
    const gaps = fc.array(fc.integer({ min: 1, max: 100_000 }), { minLength: 1 });
    fc.assert(
      fc.property(gaps, (list) => {
        const look = looks(list.map((gapMs, index) => ({ gapMs, tick: index + 1 })));
        assert.deepEqual(look, { silentMs: 0, blockedMs: 0, kind: null });
      }),
    );
  });

  it('looks more often at a loop that stands still', () => {
    const thread = { state: 'R', cpuMs: 0 };
    const first = startWatch({ atMs: 0, tick: 0, thread });
    const silent = nextLook(first, { atMs: 500, tick: 0, hasDebugger: false, thread });
    const turned = nextLook(silent, { atMs: 600, tick: 1, hasDebugger: false, thread });
    assert.deepEqual([first, silent, turned].map(pauseMs), [LOOK_MS, CLOSE_LOOK_MS, LOOK_MS]);
  });

  it('counts a loop that computes', () => {
    const steps = repeat(8, (index) => ({
      gapMs: LOOK_MS,
      thread: { state: 'R', cpuMs: 250 * (index + 1) },
    }));
    assert.deepEqual(looks(steps), { silentMs: 2_000, blockedMs: 2_000, kind: 'running' });
  });

  it('counts a loop that sleeps in the kernel, and one that the kernel says nothing of', () => {
    const asleep = repeat(8, () => ({ gapMs: LOOK_MS, thread: { state: 'S', cpuMs: 3 } }));
    assert.deepEqual(looks(asleep), { silentMs: 2_000, blockedMs: 2_000, kind: 'waiting' });
    assert.deepEqual(looks(repeat(8, () => ({ gapMs: LOOK_MS }))), {
      silentMs: 2_000,
      blockedMs: 2_000,
      kind: 'running',
    });
  });

  it('counts of the time before a late look no more than the CPU that the loop had', () => {
    const suspended = looks([{ gapMs: 60_000, thread: { state: 'S', cpuMs: 3 } }]);
    assert.deepEqual(suspended, { silentMs: 60_000, blockedMs: 3, kind: 'starved' });
    const late = fc.array(fc.integer({ min: 2 * LOOK_MS + 1, max: 100_000 }), { minLength: 1 });
    const states = fc.constantFrom('R', 'S', 'D');
    fc.assert(
      fc.property(late, states, (gaps, state) => {
        assert.equal(looks(gaps.map((gapMs) => ({ gapMs, thread: { state, cpuMs: 7 } }))).blockedMs, 7);
        assert.equal(looks(gaps.map((gapMs) => ({ gapMs }))).blockedMs, 0);
      }),
    );
  });

  it('counts of a starved loop only what it got', () => {
    const steps = repeat(40, (index) => ({
      gapMs: LOOK_MS,
      thread: { state: 'R', cpuMs: 25 * (index + 1) },
    }));
    assert.deepEqual(looks(steps), { silentMs: 10_000, blockedMs: 1_000, kind: 'starved' });
  });

  it('counts nothing at a breakpoint, but what runs while a debugger is attached', () => {
    const paused = repeat(8, () => ({ gapMs: LOOK_MS, debug: true, thread: { state: 'S', cpuMs: 1 } }));
    assert.deepEqual(looks(paused), { silentMs: 2_000, blockedMs: 0, kind: 'debugger' });
    const traced = repeat(8, () => ({ gapMs: LOOK_MS, thread: { state: 't', cpuMs: 1 } }));
    assert.deepEqual(looks(traced), { silentMs: 2_000, blockedMs: 0, kind: 'debugger' });
    const runs = repeat(8, (index) => ({
      gapMs: LOOK_MS,
      debug: true,
      thread: { state: 'R', cpuMs: 250 * (index + 1) },
    }));
    assert.equal(looks(runs).blockedMs, 2_000);
  });

  it('begins anew with each tick, and tells nothing of a pause between two ticks', () => {
    const asleep = { gapMs: LOOK_MS, thread: { state: 'S', cpuMs: 1 } };
    assert.equal(looks([...repeat(8, () => asleep), { gapMs: LOOK_MS, tick: 1 }]).kind, null);
    assert.equal(looks([asleep]).kind, null);
  });
});
