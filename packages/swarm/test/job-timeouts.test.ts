import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { defineApp } from '../dist/app.js';
import { decide } from '../dist/supervisor/decide.js';
import type { Effect, SupervisorEvent } from '../dist/supervisor/events.js';
import {
  afterDump,
  type JobAct,
  type JobLimit,
  lookAtClock,
  SETTLE_MS,
  shiftClock,
  startClock,
} from '../dist/supervisor/job-timeouts.js';
import { DEFAULT_POLICY, initialState, type SupervisorState } from '../dist/supervisor/state.js';

const LOOK_MS = 1_000;

/** What is done about a job that never ends, and when. */
function actsOf(
  limit: JobLimit,
  { untilMs = 3_600_000, dumpMs = 0, lookMs = LOOK_MS } = {},
): [number, JobAct][] {
  const acts: [number, JobAct][] = [];
  let clock = startClock(0, limit);
  let dumpedAtMs: number | null = null;
  for (let nowMs = lookMs; nowMs <= untilMs; nowMs += lookMs) {
    const looked = lookAtClock(clock, nowMs);
    clock = looked.clock;
    if (looked.act) acts.push([nowMs, looked.act]);
    if (looked.act === 'dump') dumpedAtMs = nowMs + dumpMs;
    if (dumpedAtMs === null || dumpedAtMs > nowMs) continue;
    const then = afterDump(clock, limit, dumpedAtMs);
    clock = then.clock;
    if (then.act) acts.push([dumpedAtMs, then.act]);
    dumpedAtMs = null;
  }
  return acts;
}

describe('a job that does not end', () => {
  it('is dumped at its timeout and at doubling intervals, five times', () => {
    const acts = actsOf({ timeoutMs: 30_000, action: 'dump' });
    assert.deepEqual(
      acts,
      [30, 60, 120, 240, 480].map((s) => [s * 1_000, 'dump']),
    );
  });

  it('is dumped, told to abort, and given up if it does not settle', () => {
    assert.deepEqual(actsOf({ timeoutMs: 30_000, action: 'abort' }, { dumpMs: 2_000 }), [
      [30_000, 'dump'],
      [32_000, 'abort'],
      [32_000 + SETTLE_MS, 'giveUp'],
    ]);
  });

  it('is dumped and given up', () => {
    assert.deepEqual(actsOf({ timeoutMs: 30_000, action: 'kill' }, { dumpMs: 1_000 }), [
      [30_000, 'dump'],
      [31_000, 'giveUp'],
    ]);
  });

  it('never before its time, never twice, and nothing before its dump', () => {
    const limit = fc.record({
      timeoutMs: fc.integer({ min: 1_000, max: 600_000 }),
      action: fc.constantFrom('dump' as const, 'abort' as const, 'kill' as const),
    });
    fc.assert(
      fc.property(limit, fc.nat(3_000), fc.integer({ min: 100, max: 4_000 }), (limit, dumpMs, lookMs) => {
        const acts = actsOf(limit, { dumpMs, lookMs, untilMs: 2_000_000 });
        assert.equal(acts[0]?.[1] ?? 'dump', 'dump');
        for (const [atMs] of acts) assert.ok(atMs >= limit.timeoutMs);
        const words = acts.map(([, act]) => act);
        for (const once of ['abort', 'giveUp']) assert.ok(words.filter((word) => word === once).length <= 1);
        if (limit.action === 'dump') assert.ok(words.every((word) => word === 'dump'));
      }),
    );
  });

  it('has not run while the master itself did not', () => {
    const limit: JobLimit = { timeoutMs: 30_000, action: 'kill' };
    const clock = shiftClock(startClock(0, limit), 60_000);
    assert.equal(lookAtClock(clock, 61_000).act, null);
    assert.equal(lookAtClock(clock, 90_000).act, 'dump');
  });
});

const JOB = { queue: 'mail', id: '7', startedAtMs: 5, reason: 'job timeout: too long' };

/** Two children that are up for long, `a` and `b`, in slots 0 and 1. */
class World {
  nowMs = 0;
  state: SupervisorState = initialState([{ name: 'default', count: 2 }], DEFAULT_POLICY, 0);

  constructor() {
    this.feed({ type: 'tick' });
    for (const [slot, identity] of ['a', 'b'].entries()) this.seat(slot, identity);
    this.pass(60_000);
  }

  seat(slot: number, identity: string, seat: 'main' | 'next' = 'main'): Effect[] {
    const spawned = this.feed({ type: 'childSpawned', slot, seat, identity, pid: 1, generation: 0 });
    return [...spawned, ...this.feed({ type: 'childReady', slot, identity, canRelease: true })];
  }

  feed(event: SupervisorEvent): Effect[] {
    const { state, effects } = decide(this.state, event, { nowMs: this.nowMs, random: 0 });
    this.state = state;
    return effects;
  }

  pass(ms: number): Effect[] {
    const effects: Effect[] = [];
    for (let left = ms; left > 0; left -= 1_000) {
      this.nowMs += Math.min(left, 1_000);
      effects.push(...this.feed({ type: 'tick' }));
    }
    return effects;
  }

  giveUp(isAlone = false, job = JOB): Effect[] {
    return this.feed({ type: 'jobGivenUp', slot: 0, identity: 'a', job, isAlone });
  }
}

function kills(effects: readonly Effect[]): string[] {
  return effects.flatMap((effect) => (effect.type === 'kill' ? [`${effect.identity} ${effect.reason}`] : []));
}

function stops(effects: readonly Effect[]): object[] {
  return effects.flatMap((effect) =>
    effect.type === 'send' && effect.message.type === 'stop' ? [effect.message] : [],
  );
}

describe('the child of a job that was given up', () => {
  it('is killed at once where it has no other job and no room for one, or is stuck', () => {
    assert.deepEqual(kills(new World().giveUp(true)), ['a job-timeout']);
    const world = new World();
    const times = { silentMs: 15_000, blockedMs: 15_000 };
    world.feed({ type: 'childBlocked', slot: 0, identity: 'a', kind: 'running', ...times });
    assert.deepEqual(kills(world.giveUp()), ['a job-timeout']);
  });

  it('is replaced first, then drains without it, and is killed when its time is up', () => {
    const world = new World();
    const begun = world.giveUp();
    assert.deepEqual([kills(begun), begun.filter(({ type }) => type === 'spawn').length], [[], 1]);
    assert.deepEqual(
      world.giveUp().filter(({ type }) => type !== 'report'),
      [],
      'said again',
    );
    world.seat(0, 'c', 'next');
    const told = world.pass(2_000);
    const { drainTimeoutMs } = DEFAULT_POLICY;
    assert.deepEqual(stops(told), [{ type: 'stop', drainTimeoutMs, givenUp: [JOB] }]);
    assert.deepEqual(kills(world.pass(drainTimeoutMs)), []);
    assert.deepEqual(kills(world.pass(4_000)), ['a job-timeout']);
  });

  it('is told of it when it is leaving already', () => {
    const world = new World();
    world.feed({ type: 'recycleRequested', slot: 0, identity: 'a', detail: 'max-jobs', overlap: true });
    world.seat(0, 'c', 'next');
    assert.equal(stops(world.pass(2_000)).length, 1);
    world.pass(5_000);
    const [message, ...more] = stops(world.giveUp()) as { drainTimeoutMs: number; givenUp: object[] }[];
    assert.deepEqual([message?.givenUp, more], [[JOB], []]);
    assert.ok((message?.drainTimeoutMs ?? 0) < DEFAULT_POLICY.drainTimeoutMs);
    assert.deepEqual(stops(world.giveUp()), [], 'once');
  });

  it('hands it back at a stop of all: nobody would be left to fail it', () => {
    const world = new World();
    world.giveUp();
    const { drainTimeoutMs } = DEFAULT_POLICY;
    assert.deepEqual(stops(world.feed({ type: 'stopRequested' })), [
      { type: 'stop', drainTimeoutMs },
      { type: 'stop', drainTimeoutMs },
    ]);
    assert.deepEqual(world.giveUp(true), []);
  });

  it('is asked for again when its replacement was not to be had', () => {
    const world = new World();
    world.giveUp();
    world.feed({ type: 'spawnFailed', slot: 0, seat: 'next', error: 'EAGAIN' });
    const spawned = world.pass(60_000).filter(({ type }) => type === 'spawn');
    assert.ok(spawned.length > 0);
  });
});

describe('defineApp', () => {
  const define = (jobTimeoutMs: unknown) => {
    const process = async () => {};
    return defineApp({ queues: { mail: { process, jobTimeoutMs: jobTimeoutMs as number } } });
  };

  it("takes a queue's own job timeout", () => {
    for (const good of [1_000, 60_000, 86_400_000, 'off', undefined]) assert.ok(define(good));
  });

  it('refuses one that is none, and says what it takes', () => {
    for (const bad of [0, 999, -1, Number.NaN, Number.POSITIVE_INFINITY, 86_400_001, '30s', null, true]) {
      assert.throws(() => define(bad), {
        name: 'TypeError',
        message:
          /^defineApp\(\): jobTimeoutMs of queue "mail" takes 'off', or milliseconds from 1000 to 86400000, got /,
      });
    }
  });
});
