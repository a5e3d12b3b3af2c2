import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decide } from '../dist/supervisor/decide.js';
import type { Seat, SupervisorEvent } from '../dist/supervisor/events.js';
import {
  afterSnapshot,
  type Excess,
  isOverHard,
  type Limits,
  look,
  overlaps,
  type Reading,
  startWatch,
  type Watch,
} from '../dist/supervisor/limits.js';
import {
  childrenOf,
  DEFAULT_POLICY,
  initialState,
  isSeated,
  nextDueAtMs,
  type SupervisorState,
} from '../dist/supervisor/state.js';

const MB = 1e6;
const NONE: Limits = {
  maxMemoryBytes: null,
  maxMemoryHardBytes: null,
  maxMemoryHardIsGiven: false,
  maxJobs: null,
  maxAgeMs: null,
};
const MEMORY: Limits = { ...NONE, maxMemoryBytes: 500 * MB, maxMemoryHardBytes: 750 * MB };
const MIDDLE = [0.5, 0.5] as const;

const pss = (megabytes: number, shared = 30): Reading => ({
  pssBytes: megabytes * MB,
  rssBytes: (megabytes + shared) * MB,
});
const idle = { jobsDone: 0 };

function watchOf(limits: Limits, baseline = pss(50)): Watch {
  return startWatch(limits, baseline, 0, MIDDLE).watch;
}

/** What a row of readings, a second apart, leads to. */
function looks(limits: Limits, readings: readonly (Reading & { jobsDone?: number })[], baseline = pss(50)) {
  let watch = watchOf(limits, baseline);
  return readings.map((reading, second) => {
    const next = look(watch, { ...idle, ...reading }, second * 1_000);
    watch = next.watch;
    return next.excess;
  });
}

describe('a child whose heap was written down', () => {
  const limited = (limits: Limits) => startWatch(limits, pss(70), 0, MIDDLE).watch;

  it('is not killed for what that took, and recycled for it', () => {
    const watch = afterSnapshot(limited(MEMORY), 900 * MB);
    assert.equal(isOverHard(MEMORY, watch, 1_100 * MB), false);
    assert.equal(isOverHard(MEMORY, watch, 1_200 * MB), true);
    const once = look(watch, { ...pss(870), ...idle }, 1_000);
    assert.equal(look(once.watch, { ...pss(870), ...idle }, 2_000).excess, 'max-memory');
  });

  it('is recycled also where only the hard limit was set', () => {
    const hard: Limits = { ...NONE, maxMemoryHardBytes: 500 * MB, maxMemoryHardIsGiven: true };
    const once = look(afterSnapshot(limited(hard), 900 * MB), { ...pss(870), ...idle }, 1_000);
    assert.equal(look(once.watch, { ...pss(870), ...idle }, 2_000).excess, 'max-memory');
  });

  it('keeps its limits where it stayed small, or has none', () => {
    assert.equal(isOverHard(MEMORY, afterSnapshot(limited(MEMORY), 100 * MB), 751 * MB), true);
    assert.deepEqual(afterSnapshot(limited(NONE), 900 * MB), limited(NONE));
  });
});

describe('the soft limit', () => {
  it('is met by two readings of PSS in a row, and by no other', () => {
    assert.deepEqual(looks(MEMORY, [pss(501), pss(499), pss(501), pss(501)]), [
      null,
      null,
      null,
      'max-memory',
    ]);
    assert.deepEqual(looks(MEMORY, [pss(500, 900), pss(500, 900)]), [null, null], 'RSS does not count');
  });

  it('is about RSS where PSS cannot be read, but not for a moment only', () => {
    const unreadable = { pssBytes: null, rssBytes: 600 * MB };
    assert.deepEqual(looks(MEMORY, [unreadable, unreadable], { ...unreadable, rssBytes: MB }), [
      null,
      'max-memory',
    ]);
    assert.deepEqual(looks(MEMORY, [pss(400), unreadable, unreadable]), [null, null, null]);
    assert.deepEqual(looks(MEMORY, [{ pssBytes: null, rssBytes: null }]), [null]);
  });

  it('below what the app takes at its first ready is said, and recycles only what has grown', () => {
    const { watch, isTooLow } = startWatch(MEMORY, pss(600), 0, MIDDLE);
    assert.equal(isTooLow, true);
    assert.equal(watch.bounds.softBytes, 750 * MB, 'a quarter above the baseline');
    assert.deepEqual(looks(MEMORY, [pss(740), pss(745), pss(749)], pss(600)), [null, null, null]);
    assert.deepEqual(looks(MEMORY, [pss(751), pss(751)], pss(600)), [null, 'max-memory']);
    assert.equal(startWatch(MEMORY, pss(500), 0, MIDDLE).isTooLow, false);
  });
});

describe('the hard limit', () => {
  const chosen: Limits = { ...MEMORY, maxMemoryHardBytes: 600 * MB, maxMemoryHardIsGiven: true };

  it('counts from the start where it was chosen, and from ready where it was not', () => {
    assert.equal(isOverHard(chosen, undefined, 601 * MB), true);
    assert.equal(isOverHard(chosen, undefined, 600 * MB), false);
    assert.equal(isOverHard(MEMORY, undefined, 5_000 * MB), false);
    assert.equal(isOverHard(MEMORY, watchOf(MEMORY), 751 * MB), true);
    assert.equal(isOverHard(MEMORY, watchOf(MEMORY), null), false);
    assert.equal(isOverHard(NONE, watchOf(NONE), 1e15), false);
  });

  it('is taken as it is where it was chosen, whatever the app takes', () => {
    assert.equal(watchOf(chosen, pss(700)).bounds.hardBytes, 600 * MB);
    const alone: Limits = { ...NONE, maxMemoryHardBytes: 600 * MB, maxMemoryHardIsGiven: true };
    assert.equal(watchOf(alone).bounds.hardBytes, 600 * MB);
    assert.equal(watchOf(alone).bounds.softBytes, null);
  });

  it('where nobody chose it, never comes before the soft one', () => {
    const bytes = fc.integer({ min: 16, max: 100_000 }).map((megabytes) => megabytes * MB);
    fc.assert(
      fc.property(bytes, bytes, bytes, (soft, baseline, shared) => {
        const limits = { ...NONE, maxMemoryBytes: soft, maxMemoryHardBytes: Math.round(1.5 * soft) };
        const { watch } = startWatch(limits, { pssBytes: baseline, rssBytes: baseline + shared }, 0, MIDDLE);
        const { softBytes, hardBytes } = watch.bounds;
        assert.ok(softBytes !== null && hardBytes !== null);
        assert.ok(hardBytes >= 1.5 * soft - 1);
        assert.equal(isOverHard(limits, watch, softBytes + shared), false, 'RSS when the soft limit is met');
      }),
    );
  });
});

describe('jobs and age', () => {
  it('lie within a tenth of what was asked for, and are fixed for the life of a child', () => {
    const unit = fc.double({ min: 0, max: 0.999_999, noNaN: true });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e9 }), unit, unit, (limit, one, other) => {
        const limits = { ...NONE, maxJobs: limit, maxAgeMs: limit };
        const { jobs, ageMs } = startWatch(limits, pss(50), 0, [one, other]).watch.bounds;
        for (const bound of [jobs, ageMs]) {
          assert.ok(bound !== null && Number.isInteger(bound) && bound >= 1);
          assert.ok(Math.abs(bound - limit) <= limit * 0.1 + 0.5);
        }
      }),
    );
  });

  it('are counted from ready', () => {
    const { watch } = startWatch({ ...NONE, maxAgeMs: 10_000 }, pss(50), 5_000, MIDDLE);
    assert.equal(look(watch, { ...pss(50), jobsDone: 0 }, 14_999).excess, null);
    assert.equal(look(watch, { ...pss(50), jobsDone: 0 }, 15_000).excess, 'max-age');
    const jobs = { ...NONE, maxJobs: 100 };
    assert.deepEqual(looks(jobs, [{ ...pss(9_000), jobsDone: 99 }]), [null]);
    assert.deepEqual(looks(jobs, [{ ...pss(50), jobsDone: 100 }]), ['max-jobs']);
  });
});

describe('room for one more', () => {
  const candidate = (group: string, megabytes: number) => ({
    group,
    reading: pss(megabytes),
    bounds: watchOf(MEMORY).bounds,
  });

  it('is as much as the child takes, or may take, and a little more', () => {
    assert.deepEqual(overlaps([candidate('a', 100)], 111 * MB), [true]);
    assert.deepEqual(overlaps([candidate('a', 100)], 109 * MB), [false]);
    assert.deepEqual(overlaps([candidate('a', 900)], 551 * MB), [true], 'no more than the limit');
    assert.deepEqual(overlaps([candidate('a', 900)], null), [true], 'not known');
  });

  it('is shared in a group, where one is replaced at a time, and not between groups', () => {
    const both = [candidate('a', 400), candidate('a', 400), candidate('b', 400)];
    assert.deepEqual(overlaps(both, 500 * MB), [true, true, false]);
    assert.deepEqual(overlaps(both, 900 * MB), [true, true, true]);
  });
});

interface Child {
  slot: number;
  bornAtMs: number;
  readyAtMs: number | null;
  bytes: number;
  told: 'stop' | 'kill' | null;
  watch: Watch | null;
}

interface Habits {
  limits: Limits;
  count: number;
  baseline: number;
  /** Bytes a second. */
  growth: number;
  bootMs: number;
  drainMs: number;
  freeBytes: number | null;
  seed: number;
}

/**
 * A master with its children, all of them in good health but for their appetite. Every second they grow, are
 * read and judged, and what was decided is carried out; the clock moves only when told.
 */
class Herd {
  readonly recycles: { atMs: number; slot: number; excess: Excess; bytes: number }[] = [];
  readonly spawnsAtMs: number[] = [];
  kills = 0;
  tooLow = 0;
  mostAtOnce = 0;
  nowMs = 0;
  readonly #alive = new Map<string, Child>();
  readonly #habits: Habits;
  #state: SupervisorState;
  #count = 0;
  #allWereUp = false;
  #random: number;

  constructor(habits: Habits) {
    this.#habits = habits;
    this.#random = habits.seed;
    this.#state = initialState([{ name: 'default', count: habits.count }], DEFAULT_POLICY, 0);
    this.#feed({ type: 'tick' });
  }

  pass(ms: number): void {
    const endMs = this.nowMs + ms;
    while (this.nowMs < endMs) {
      const dueAtMs = nextDueAtMs(this.#state) ?? Number.POSITIVE_INFINITY;
      const secondMs = Math.floor(this.nowMs / 1_000 + 1) * 1_000;
      this.nowMs = Math.min(endMs, secondMs, dueAtMs);
      this.#live();
      this.#feed({ type: 'tick' });
      if (this.nowMs === secondMs) this.#judge();
      this.#checkCapacity();
    }
  }

  #next(): number {
    this.#random = (this.#random * 48_271) % 2_147_483_647;
    return this.#random / 2_147_483_647;
  }

  #feed(event: SupervisorEvent): void {
    const { state, effects } = decide(this.#state, event, { nowMs: this.nowMs, random: this.#next() });
    this.#state = state;
    for (const effect of effects) {
      if (effect.type === 'spawn') this.#spawn(effect.slot, effect.seat, effect.generation);
      const child = 'identity' in effect ? this.#alive.get(effect.identity) : undefined;
      if (child && effect.type === 'kill') child.told = 'kill';
      if (child && effect.type === 'send' && effect.message.type === 'stop') child.told ??= 'stop';
    }
  }

  #spawn(slot: number, seat: Seat, generation: number): void {
    const identity = `host:${++this.#count}:x`;
    const { baseline: bytes } = this.#habits;
    this.spawnsAtMs.push(this.nowMs);
    this.#alive.set(identity, {
      slot,
      bornAtMs: this.nowMs,
      readyAtMs: null,
      bytes,
      told: null,
      watch: null,
    });
    this.#feed({ type: 'childSpawned', slot, seat, identity, pid: this.#count, generation });
  }

  #live(): void {
    const { limits, bootMs, drainMs, growth } = this.#habits;
    for (const [identity, child] of [...this.#alive]) {
      const { slot } = child;
      if (
        child.told === 'kill' ||
        (child.told === 'stop' && this.nowMs - child.bornAtMs >= bootMs + drainMs)
      ) {
        this.#alive.delete(identity);
        this.#feed({ type: 'childExited', slot, identity, drained: child.told === 'stop', held: false });
      } else if (child.readyAtMs === null && this.nowMs - child.bornAtMs >= bootMs) {
        child.readyAtMs = this.nowMs;
        const { watch, isTooLow } = startWatch(limits, this.#reading(child), this.nowMs, [
          this.#next(),
          this.#next(),
        ]);
        child.watch = watch;
        if (isTooLow) this.tooLow += 1;
        this.#feed({ type: 'childReady', slot, identity, canRelease: true });
      }
    }
    for (const child of this.#alive.values()) {
      if (child.readyAtMs !== null)
        child.bytes = this.#habits.baseline + (growth * (this.nowMs - child.readyAtMs)) / 1_000;
    }
    this.mostAtOnce = Math.max(this.mostAtOnce, this.#alive.size);
  }

  #reading({ bytes }: Child): Reading {
    return { pssBytes: bytes, rssBytes: bytes + 30 * MB };
  }

  #judge(): void {
    const { limits, freeBytes } = this.#habits;
    for (const [identity, child] of [...this.#alive]) {
      if (!child.watch || child.told) continue;
      const { rssBytes } = this.#reading(child);
      if (isOverHard(limits, child.watch, rssBytes)) {
        this.kills += 1;
        this.#feed({ type: 'killRequested', identity, reason: 'max-memory-hard' });
      }
      const jobsDone = (this.nowMs - (child.readyAtMs ?? 0)) / 100;
      const { watch, excess } = look(child.watch, { ...this.#reading(child), jobsDone }, this.nowMs);
      child.watch = watch;
      if (!excess || !isSeated(this.#state, identity)) continue;
      const { slot } = child;
      if (!this.recycles.some((recycle) => recycle.slot === slot && recycle.atMs >= (child.readyAtMs ?? 0))) {
        this.recycles.push({ atMs: this.nowMs, slot, excess, bytes: child.bytes });
      }
      const [overlap = false] = overlaps(
        [{ group: 'default', reading: this.#reading(child), bounds: watch.bounds }],
        freeBytes,
      );
      this.#feed({ type: 'recycleRequested', slot, identity, detail: excess, overlap });
    }
  }

  #checkCapacity(): void {
    const { count } = this.#habits;
    const { slots } = this.#state;
    const serving = slots.filter(({ state }) => state === 'up').length;
    this.#allWereUp ||= serving === count;
    if (this.#allWereUp && this.kills === 0)
      assert.ok(serving >= count - 1, `${serving} of ${count} serve at ${this.nowMs}`);
    const replaced = slots.filter(
      (slot) => childrenOf(slot).length > 1 || slot.next || slot.state === 'stopping',
    );
    assert.ok(replaced.length <= 1, `${replaced.length} are replaced at once`);
  }
}

const calm: Habits = {
  limits: MEMORY,
  count: 4,
  baseline: 60 * MB,
  growth: 0,
  bootMs: 800,
  drainMs: 5_000,
  freeBytes: null,
  seed: 7,
};
const HOUR_MS = 3_600_000;

describe('a herd of children', () => {
  it('that keeps within its limit is left alone', () => {
    const herd = new Herd({ ...calm, baseline: 500 * MB });
    herd.pass(HOUR_MS);
    assert.deepEqual([herd.recycles.length, herd.spawnsAtMs.length, herd.kills, herd.tooLow], [0, 4, 0, 0]);
  });

  it('whose limit is below its baseline does not churn', () => {
    const herd = new Herd({ ...calm, baseline: 620 * MB, growth: 10_000 });
    herd.pass(HOUR_MS);
    assert.deepEqual([herd.recycles.length, herd.spawnsAtMs.length, herd.kills], [0, 4, 0]);
    assert.equal(herd.tooLow, 4, 'each of them could say so');
  });

  it('that crosses it together is replaced one after the other, the new ones first', () => {
    const herd = new Herd({ ...calm, growth: 20 * MB });
    herd.pass(60_000);
    assert.ok(herd.recycles.length >= 4);
    assert.equal(herd.mostAtOnce, 5, 'one more than wanted');
    const replacementsAtMs = herd.spawnsAtMs.slice(4);
    const gapsMs = replacementsAtMs.slice(1).map((atMs, at) => atMs - (replacementsAtMs[at] ?? 0));
    assert.ok(
      gapsMs.every((gapMs) => gapMs >= calm.bootMs + DEFAULT_POLICY.settleMs),
      `gaps ${gapsMs}`,
    );
  });

  it('has no two children in a slot where there is no room for them', () => {
    const herd = new Herd({ ...calm, growth: 20 * MB, freeBytes: 100 * MB });
    herd.pass(60_000);
    assert.ok(herd.recycles.length >= 4);
    assert.equal(herd.mostAtOnce, 4);
  });

  it('grows old together and is replaced apart', () => {
    const herd = new Herd({ ...calm, count: 8, limits: { ...NONE, maxAgeMs: HOUR_MS } });
    herd.pass(1.2 * HOUR_MS);
    assert.equal(new Set(herd.recycles.map(({ slot }) => slot)).size, 8);
    const times = herd.recycles.map(({ atMs }) => atMs).sort((a, b) => a - b);
    assert.ok((times.at(-1) ?? 0) - (times[0] ?? 0) > 120_000, 'spread over minutes');
  });

  it('of any habits keeps N − 1 at work, is replaced one at a time, and only for a reason', () => {
    const habits: fc.Arbitrary<Habits> = fc.record({
      limits: fc.record({
        maxMemoryBytes: fc.option(fc.integer({ min: 40, max: 800 }).map((megabytes) => megabytes * MB)),
        maxMemoryHardBytes: fc.constant(null),
        maxMemoryHardIsGiven: fc.constant(false),
        maxJobs: fc.option(fc.integer({ min: 300, max: 3_000 })),
        maxAgeMs: fc.option(fc.integer({ min: 30_000, max: 300_000 })),
      }),
      count: fc.integer({ min: 1, max: 6 }),
      baseline: fc.integer({ min: 30, max: 900 }).map((megabytes) => megabytes * MB),
      growth: fc.constantFrom(0, 0, MB / 10, MB, 20 * MB),
      bootMs: fc.integer({ min: 100, max: 9_000 }),
      drainMs: fc.integer({ min: 0, max: 25_000 }),
      freeBytes: fc.option(fc.integer({ min: 0, max: 2_000 }).map((megabytes) => megabytes * MB)),
      seed: fc.integer({ min: 1, max: 2_147_483_646 }),
    });
    fc.assert(
      fc.property(habits, (each) => {
        const herd = new Herd(each);
        herd.pass(600_000);
        const { maxMemoryBytes, maxJobs, maxAgeMs } = each.limits;
        for (const { excess, bytes } of herd.recycles) {
          if (excess === 'max-memory') {
            assert.ok(maxMemoryBytes !== null && bytes > maxMemoryBytes);
            // had it not grown, its successor would be no better
            assert.ok(each.baseline <= maxMemoryBytes || bytes > 1.24 * each.baseline);
          } else {
            assert.ok(maxJobs !== null || maxAgeMs !== null);
          }
        }
        const isCalm = each.growth === 0 && maxJobs === null && maxAgeMs === null;
        if (isCalm) assert.equal(herd.spawnsAtMs.length, each.count);
      }),
      { numRuns: 100 },
    );
  });
});

describe('a recycle that waits for its turn', () => {
  const up = (): SupervisorState => {
    let state = initialState([{ name: 'default', count: 2 }], DEFAULT_POLICY, 0);
    const feed = (event: SupervisorEvent, nowMs = 0) => {
      state = decide(state, event, { nowMs, random: 0.5 }).state;
    };
    feed({ type: 'tick' });
    for (const slot of [0, 1]) {
      feed({ type: 'childSpawned', slot, seat: 'main', identity: `c${slot}`, pid: slot + 1, generation: 0 });
      feed({ type: 'childReady', slot, identity: `c${slot}`, canRelease: true });
    }
    return state;
  };
  const moment = { nowMs: 20_000, random: 0.5 };
  const recycle = (slot: number, overlap: boolean): SupervisorEvent => {
    return { type: 'recycleRequested', slot, identity: `c${slot}`, detail: 'max-memory', overlap };
  };

  it('is told anew whether there is room for two', () => {
    const first = decide(up(), recycle(0, true), moment).state;
    const waiting = decide(first, recycle(1, false), moment).state;
    assert.equal(waiting.slots[1]?.wanted?.overlap, false);
    const later = decide(waiting, recycle(1, true), moment).state;
    assert.equal(later.slots[1]?.wanted?.overlap, true);
    assert.equal(decide(later, recycle(1, true), moment).state, later, 'the same again changes nothing');
  });

  it('is dropped when the child dies: its successor has done nothing yet', () => {
    const first = decide(up(), recycle(0, true), moment).state;
    const waiting = decide(first, recycle(1, true), moment).state;
    const exited = { type: 'childExited', slot: 1, identity: 'c1', drained: false, held: false } as const;
    assert.equal(decide(waiting, exited, moment).state.slots[1]?.wanted, null);
  });
});
