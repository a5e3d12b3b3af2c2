import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { WorkerInfo } from '../dist/protocol.js';
import { lockHoldingsOf, lockPaceOf } from '../dist/recovery/lock-holdings.js';
import { decide } from '../dist/supervisor/decide.js';
import type { Effect, SupervisorEvent } from '../dist/supervisor/events.js';
import { DEFAULT_POLICY, initialState, type SupervisorState } from '../dist/supervisor/state.js';

type Ask = Extract<Effect, { type: 'extendLocks' }>;

const EVERY_MS = 7_500;
const SLOTS = 3;

/** Three children that are up, `0`, `1` and `2` by their slots, and a clock that moves when told. */
class World {
  nowMs = 0;
  state: SupervisorState = initialState([{ name: 'default', count: SLOTS }], DEFAULT_POLICY, 0);
  effects: Effect[] = [];

  constructor() {
    this.feed({ type: 'tick' });
    for (let slot = 0; slot < SLOTS; slot++) this.seat(slot, String(slot));
  }

  seat(slot: number, identity: string): void {
    this.feed({ type: 'childSpawned', slot, seat: 'main', identity, pid: slot + 1, generation: 0 });
    this.feed({ type: 'childReady', slot, identity, canRelease: true });
  }

  feed(event: SupervisorEvent): Effect[] {
    const { state, effects } = decide(this.state, event, { nowMs: this.nowMs, random: 0 });
    this.state = state;
    this.effects.push(...effects);
    return effects;
  }

  pass(ms: number): Effect[] {
    const effects: Effect[] = [];
    for (let left = ms; left > 0; left -= 1_000) {
      this.nowMs += Math.min(1_000, left);
      effects.push(...this.feed({ type: 'tick' }));
    }
    return effects;
  }

  miss(slot: number, identity = String(slot)): Effect[] {
    return this.feed({ type: 'renewalMissed', slot, identity, everyMs: EVERY_MS });
  }

  block(slot: number): Effect[] {
    const times = { silentMs: 1_000, blockedMs: 0 };
    return this.feed({ type: 'childBlocked', slot, identity: String(slot), kind: 'running', ...times });
  }

  answer({ owner, by }: Ask, error: string | null = null): Effect[] {
    return this.feed({ type: 'locksExtended', owner, by, error });
  }

  exit(slot: number, identity = String(slot)): Effect[] {
    return this.feed({ type: 'childExited', slot, identity, drained: false, held: true });
  }
}

function asks(effects: readonly Effect[]): Ask[] {
  return effects.filter((effect) => effect.type === 'extendLocks');
}

/** The only one there is. */
function ask(effects: readonly Effect[]): Ask {
  const [first, ...more] = asks(effects);
  assert.ok(first && more.length === 0, JSON.stringify(effects));
  return first;
}

describe('the locks of a blocked child', () => {
  it('are extended by a sibling at once, and again for as long as it is blocked', () => {
    const world = new World();
    world.block(0);
    let asked = ask(world.miss(0));
    assert.equal(asked.owner, '0');
    assert.notEqual(asked.by, '0');
    for (let round = 0; round < 20; round++) {
      assert.deepEqual(asks(world.answer(asked)), []);
      assert.deepEqual(asks(world.miss(0)), [], 'said again, asked once');
      assert.deepEqual(asks(world.pass(EVERY_MS - 500)), []);
      asked = ask(world.pass(1_000));
    }
    world.feed({ type: 'childUnblocked', slot: 0, identity: '0' });
    assert.deepEqual(world.state.extensions, []);
    assert.deepEqual(asks(world.pass(60_000)), []);
  });

  it('are left alone when it is gone: its jobs are released then', () => {
    const world = new World();
    world.block(0);
    world.answer(ask(world.miss(0)));
    const effects = world.exit(0);
    assert.deepEqual(world.state.extensions, []);
    assert.equal(effects.filter(({ type }) => type === 'release').length, 1);
    assert.deepEqual(asks(world.miss(0)), [], 'late news of it');
  });

  it('are extended by another when the one that was asked dies, is blocked, fails or says nothing', () => {
    const failures: ((world: World, asked: Ask) => Effect[])[] = [
      (world, { by }) => world.exit(Number(by)),
      (world, { by }) => world.block(Number(by)),
      (world, asked) => [...world.answer(asked, 'no Redis'), ...world.pass(1_000)],
      (world) => world.pass(DEFAULT_POLICY.releaseAnswerMs),
    ];
    for (const fail of failures) {
      const world = new World();
      world.block(0);
      const first = ask(world.miss(0));
      const second = ask(fail(world, first));
      assert.notEqual(second.by, first.by);
      assert.notEqual(second.by, '0');
      assert.deepEqual(asks(world.answer(first)), [], 'a late answer changes nothing');
      assert.equal(world.state.extensions[0]?.askedOf, second.by);
    }
  });

  it('are lamented once where nobody turns, and extended as soon as somebody does', () => {
    const world = new World();
    for (const slot of [0, 1, 2]) world.block(slot);
    const effects = [...world.miss(0), ...world.pass(60_000), ...world.miss(0)];
    assert.deepEqual(asks(effects), []);
    assert.equal(effects.filter(({ type }) => type === 'log').length, 1);
    assert.equal(ask(world.feed({ type: 'childUnblocked', slot: 2, identity: '2' })).by, '2');
  });

  it('are in good hands whatever happens to the siblings', () => {
    const slot = fc.nat({ max: SLOTS - 1 });
    const happening = fc.oneof(
      fc.record({ what: fc.constantFrom('block', 'unblock', 'exit', 'return'), slot }),
      fc.record({ what: fc.constantFrom('answer', 'fail', 'pass'), slot }),
    );
    fc.assert(
      fc.property(fc.array(happening, { maxLength: 80 }), (happenings) => {
        const world = new World();
        const blocked = new Set<string>(['0']);
        const dead = new Set<string>();
        const check = (effects: readonly Effect[]): void => {
          for (const { owner, by } of asks(effects)) {
            assert.equal(owner, '0');
            assert.ok(by !== '0' && !blocked.has(by) && !dead.has(by), `${by} cannot help`);
          }
        };
        world.block(0);
        check(world.miss(0));
        for (const { what, slot } of happenings) {
          const identity = String(slot);
          const isAway = dead.has(identity);
          const pending = world.state.extensions[0];
          const asked: Ask = { type: 'extendLocks', owner: '0', by: pending?.askedOf ?? '' };
          if (what === 'pass') check(world.pass(1_000 * (1 + slot)));
          if (what === 'answer') check(world.answer(asked));
          if (what === 'fail') check(world.answer(asked, 'failed'));
          if (slot === 0) continue;
          if (what === 'block' && !isAway) {
            blocked.add(identity);
            check(world.block(slot));
          }
          if (what === 'unblock' && !isAway) {
            blocked.delete(identity);
            check(world.feed({ type: 'childUnblocked', slot, identity }));
          }
          if (what === 'exit' && !isAway) {
            dead.add(identity);
            blocked.delete(identity);
            check(world.exit(slot));
          }
          // the slot spawns it again, by the same name here
          if (what === 'return' && isAway && world.state.slots[slot]?.state === 'starting') {
            dead.delete(identity);
            world.seat(slot, identity);
          }
        }
        const helpers = ['1', '2'].filter((identity) => !blocked.has(identity) && !dead.has(identity));
        const [extension] = world.state.extensions;
        if (helpers.length === 0) return;
        assert.ok(extension && extension.dueAtMs !== null, 'somebody is asked, or will be');
        assert.ok(extension.dueAtMs - world.nowMs <= EVERY_MS);
      }),
    );
  });
});

describe('what is to be extended, and when', () => {
  const worker = (lock?: WorkerInfo['lock']): WorkerInfo => {
    return { queue: 'q', prefix: 'bull', redisId: 'r', tokenPrefix: 't:', lock };
  };

  it('is in time before the first lock can run out, by the shortest there is', () => {
    const [stock, short] = [
      { durationMs: 30_000, renewMs: 15_000 },
      { durationMs: 4_000, renewMs: 3_000 },
    ];
    assert.deepEqual(lockPaceOf([worker(stock)]), { firstMs: 7_500, everyMs: 7_500 });
    assert.deepEqual(lockPaceOf([worker(stock), worker(short)]), { firstMs: 500, everyMs: 1_000 });
  });

  it('is nothing where locks are not renewed', () => {
    assert.equal(lockPaceOf([]), null);
    assert.equal(lockPaceOf([worker()]), null);
    assert.deepEqual(lockHoldingsOf([worker()]), []);
  });
});
