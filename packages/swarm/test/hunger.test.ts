import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  type Alarm,
  type FetcherSight,
  type Hunger,
  LOOK_MS,
  lookAtFetcher,
  type QueueAnswer,
  startHunger,
} from '../dist/fetch/hunger.js';
import { type IdleRecycles, idleRecycle } from '../dist/supervisor/idle-recycles.js';

const WAITING: QueueAnswer = { kind: 'waiting', jobs: 12 };

/** Looks at a fetcher, one every 10 s unless it says otherwise; the question of each look is answered by the next. */
function looks(sights: Partial<FetcherSight>[]): { alarms: (Alarm & { atMs: number })[]; asked: number } {
  let hunger: Hunger = startHunger({ atMs: 0, begun: 0 });
  let answer: QueueAnswer = { kind: 'none' };
  let atMs = 0;
  const alarms: (Alarm & { atMs: number })[] = [];
  let asked = 0;
  for (const sight of sights) {
    atMs = sight.atMs ?? atMs + LOOK_MS;
    const step = lookAtFetcher(hunger, {
      begun: 0,
      isFree: true,
      hadTrouble: false,
      usualWaitMs: 2,
      answer,
      ...sight,
      atMs,
    });
    hunger = step.hunger;
    if (step.alarm) alarms.push({ ...step.alarm, atMs });
    if (step.asks) asked += 1;
    answer = step.asks ? WAITING : { kind: 'none' };
  }
  return { alarms, asked };
}

const times = (count: number, sight: Partial<FetcherSight> = {}) =>
  Array.from({ length: count }, () => sight);

describe('a fetcher', () => {
  it('that begins nothing for half a minute while jobs wait is called one that does not fetch', () => {
    assert.deepEqual(looks(times(4)).alarms, [{ waiting: 12, forMs: 30_000, atMs: 40_000 }]);
    assert.deepEqual(looks(times(3)).alarms, []);
  });

  it('is called so again only after as long', () => {
    assert.deepEqual(
      looks(times(10)).alarms.map(({ atMs }) => atMs / 1_000),
      [40, 70, 100],
    );
  });

  it('whose jobs commonly wait long has ten times as long', () => {
    assert.deepEqual(
      looks(times(20, { usualWaitMs: 10_000 })).alarms.map(({ atMs }) => atMs / 1_000),
      [110],
    );
  });

  it('asks Redis nothing while it begins jobs', () => {
    assert.equal(looks(Array.from({ length: 50 }, (_, at) => ({ begun: at + 1 }))).asked, 0);
    assert.equal(looks(times(10, { isFree: false })).asked, 0);
  });

  it('that Redis does not answer cannot know what waits', () => {
    const { alarms } = looks([{}, ...times(3, { answer: { kind: 'pending' } })]);
    assert.deepEqual(alarms, [{ waiting: null, forMs: 30_000, atMs: 40_000 }]);
  });

  it('whose answer was long in coming has its whole time again: Redis was away', () => {
    const away = times(2, { answer: { kind: 'pending' } });
    assert.deepEqual(looks([{}, ...away, ...times(3, { answer: WAITING })]).alarms, []);
  });

  it('has its whole time again whatever explains its silence', () => {
    const explanation: fc.Arbitrary<Partial<FetcherSight>> = fc.constantFrom<Partial<FetcherSight>>(
      { isFree: false },
      { hadTrouble: true },
      { answer: { kind: 'waiting', jobs: 0 } },
      { answer: { kind: 'failed' } },
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(2), explanation), { maxLength: 30 }), (rounds) => {
        const sights = rounds.flatMap(([hungry, reason]) => [...times(hungry), reason]);
        assert.deepEqual(looks(sights).alarms, []);
      }),
    );
  });

  it('is not called so over a look that is late, by suspend or a blocked loop', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 16_000, max: 600_000 }), { maxLength: 20 }), (gaps) => {
        const sights: Partial<FetcherSight>[] = [];
        let atMs = 0;
        for (const gapMs of gaps) {
          sights.push({ atMs: atMs + gapMs }, { atMs: atMs + gapMs + LOOK_MS });
          atMs += gapMs + LOOK_MS;
        }
        assert.deepEqual(looks(sights).alarms, []);
      }),
    );
  });
});

describe('recycles of children that do not consume', () => {
  it('are always allowed of a child that has worked before', () => {
    let recycles: IdleRecycles | undefined;
    for (let nowMs = 0; nowMs < 600_000; nowMs += 40_000) {
      const decision = idleRecycle(recycles, { hasWorked: true, nowMs });
      recycles = decision.recycles;
      assert.equal(decision.isAllowed, true);
    }
  });

  it('come ever more seldom where no child has ever begun a job', () => {
    let recycles: IdleRecycles | undefined;
    const allowed: number[] = [];
    for (let nowMs = 0; nowMs < 24 * 3_600_000; nowMs += 40_000) {
      const decision = idleRecycle(recycles, { hasWorked: false, nowMs });
      recycles = decision.recycles;
      if (decision.isAllowed) allowed.push(nowMs);
    }
    assert.deepEqual(allowed.slice(0, 4), [0, 80_000, 200_000, 440_000]);
    assert.ok(allowed.length < 40, String(allowed.length));
    const after = idleRecycle(recycles, { hasWorked: true, nowMs: 24 * 3_600_000 });
    assert.deepEqual(after, { recycles: { fruitless: 0, notBeforeMs: 24 * 3_600_000 }, isAllowed: true });
  });
});
