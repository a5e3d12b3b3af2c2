import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decide } from '../dist/supervisor/decide.js';
import type { Effect, SupervisorEvent } from '../dist/supervisor/events.js';
import { DEFAULT_POLICY, initialState, type Policy, type SupervisorState } from '../dist/supervisor/state.js';
import {
  type Block,
  type BlockAct,
  MAX_DUMPS,
  type StuckPolicy,
  stepBlock,
} from '../dist/supervisor/stuck.js';
import { BLOCK_KINDS, type BlockKind } from '../dist/watchdog-protocol.js';

const LIMITS: StuckPolicy = { stuckAfterMs: 10_000, stuckKillAfterMs: 60_000, stuckKillMindsLocks: false };
const UP = { isReady: true, killInMs: null };
const LOOK_MS = 250;

/** What is done during one block, and after how much of it. */
function act(
  untilMs: number,
  {
    kind = 'running' as BlockKind,
    limits = LIMITS,
    lockMs = 0,
    phase = UP as { isReady: boolean; killInMs: number | null },
    canAct = true,
  } = {},
): [number, string][] {
  let block: Block | null = null;
  const acts: [number, string][] = [];
  for (let blockedMs = LOOK_MS; blockedMs <= untilMs; blockedMs += LOOK_MS) {
    const news = { kind, blockedMs, silentMs: blockedMs, lockMs };
    const step: { block: Block; act: BlockAct | null } = stepBlock(block, news, limits, {
      phase,
      nowMs: blockedMs,
      canAct,
    });
    block = step.block;
    if (step.act) acts.push([blockedMs, step.act.type === 'dump' ? step.act.reason : 'kill']);
    if (step.act?.type === 'kill') break;
  }
  return acts;
}

describe('a block', () => {
  it('is dumped at the threshold and at doubling intervals, then ended', () => {
    const expected = [
      [10_000, 'stuck'],
      [20_000, 'stuck'],
      [40_000, 'stuck'],
      [60_000, 'kill'],
    ];
    assert.deepEqual(act(120_000), expected);
  });

  it('is not ended before the longest lock has run out, unless somebody chose when', () => {
    const limits = { ...LIMITS, stuckKillMindsLocks: true };
    const killedAtMs = (of: Parameters<typeof act>[1]): number | undefined =>
      act(3_600_000, of).find(([, what]) => what === 'kill')?.[0];
    assert.equal(killedAtMs({ limits, lockMs: 30_000 }), 60_000);
    assert.equal(killedAtMs({ limits, lockMs: 600_000 }), 600_000);
    assert.equal(killedAtMs({ lockMs: 600_000 }), 60_000);
  });

  it('is dumped at most five times where nobody is to be killed', () => {
    const acts = act(3_600_000, { limits: { ...LIMITS, stuckKillAfterMs: null } });
    assert.deepEqual(
      acts.map(([atMs]) => atMs / 1_000),
      [10, 20, 40, 80, 160],
    );
  });

  it('has its first dump before the kill, however near the two are', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1_000, max: 30_000 }),
        fc.integer({ min: 1, max: 30_000 }),
        (stuckAfterMs, moreMs) => {
          const acts = act(200_000, {
            limits: { ...LIMITS, stuckAfterMs, stuckKillAfterMs: stuckAfterMs + moreMs },
          });
          const [[dumpMs, first] = [0, ''], [killMs, last] = [0, '']] = [acts[0], acts.at(-1)];
          assert.deepEqual([first, last], ['stuck', 'kill']);
          assert.ok(killMs - dumpMs >= 1_000, `${dumpMs} ${killMs}`);
          assert.ok(acts.length <= MAX_DUMPS + 1);
        },
      ),
    );
  });

  it('of a child at a breakpoint is nothing to act on', () => {
    assert.deepEqual(act(600_000, { kind: 'debugger' }), []);
  });

  it('of a starved child is acted on by what it had of a CPU', () => {
    assert.equal(act(600_000, { kind: 'starved' }).at(-1)?.[1], 'kill');
    const news = { kind: 'starved', blockedMs: 900, silentMs: 600_000 } as const;
    assert.equal(stepBlock(null, news, LIMITS, { phase: UP, nowMs: 700_000, canAct: true }).act, null);
  });

  it('of a stopped process ends like any other', () => {
    assert.deepEqual(act(60_000, { kind: 'stopped' }).at(-1), [60_000, 'kill']);
  });

  it('at boot is dumped, and left to the boot timeout', () => {
    const acts = act(600_000, { phase: { isReady: false, killInMs: 1_000_000 } });
    assert.deepEqual(
      acts.map(([, what]) => what),
      ['stuck', 'stuck', 'stuck', 'stuck', 'stuck'],
    );
  });

  it('is dumped once more when its child is about to be killed for another reason', () => {
    assert.deepEqual(act(2_000, { phase: { isReady: true, killInMs: 1_200 } }), [[250, 'stop-deadline']]);
  });

  it('is only noted while our own clock is in doubt', () => {
    assert.deepEqual(act(600_000, { canAct: false }), []);
  });
});

/** A supervisor with children that are up, and a clock that moves when told. */
class World {
  nowMs = 0;
  state: SupervisorState;
  effects: Effect[] = [];

  constructor(policy: Partial<Policy> = {}) {
    this.state = initialState([{ name: 'default', count: 1 }], { ...DEFAULT_POLICY, ...policy }, 0);
    this.feed({ type: 'tick' });
    this.feed({ type: 'childSpawned', slot: 0, seat: 'main', identity: 'a', pid: 1, generation: 0 });
    this.feed({ type: 'childReady', slot: 0, identity: 'a', canRelease: true });
  }

  feed(event: SupervisorEvent): Effect[] {
    const { state, effects } = decide(this.state, event, { nowMs: this.nowMs, random: 0.5 });
    this.state = state;
    this.effects.push(...effects);
    return effects;
  }

  /** Each second a tick and a word of the watchdog. */
  block(seconds: number, kind: BlockKind = 'running', fromMs = 0): void {
    for (let second = 1; second <= seconds; second++) {
      this.nowMs += 1_000;
      this.feed({ type: 'tick' });
      this.say(fromMs + second * 1_000, kind);
    }
  }

  say(blockedMs: number, kind: BlockKind = 'running'): void {
    this.feed({ type: 'childBlocked', slot: 0, identity: 'a', kind, silentMs: blockedMs, blockedMs });
  }

  all<T extends Effect['type']>(type: T): Extract<Effect, { type: T }>[] {
    return this.effects.filter((effect): effect is Extract<Effect, { type: T }> => effect.type === type);
  }
}

describe('the supervisor of a child that is blocked', () => {
  it('has it dumped, then kills it once, for being stuck', () => {
    const world = new World();
    world.block(70);
    assert.equal(world.all('dump').length, 3);
    assert.deepEqual(world.all('kill'), [{ type: 'kill', identity: 'a', reason: 'stuck' }]);
    world.feed({ type: 'childExited', slot: 0, identity: 'a', drained: false, held: true });
    assert.deepEqual(world.state.blocks, {});
  });

  it('shows it as stuck from the threshold to its next turn', () => {
    const world = new World();
    world.block(9);
    assert.equal(world.state.blocks['a']?.isStuck, false);
    world.effects.length = 0;
    world.block(1, 'running', 9_000);
    assert.equal(world.state.blocks['a']?.isStuck, true);
    assert.equal(world.all('report').length, 1);
    assert.deepEqual(
      world.feed({ type: 'childUnblocked', slot: 0, identity: 'a' }).map(({ type }) => type),
      ['report'],
    );
    assert.deepEqual(world.state.blocks, {});
  });

  it('acts on nothing for one cycle after its own clock has jumped', () => {
    const world = new World();
    world.block(5);
    world.nowMs += 70_000;
    world.say(75_000);
    assert.deepEqual([world.all('kill'), world.all('dump')], [[], []]);
    world.feed({ type: 'tick' });
    world.say(75_000);
    assert.deepEqual([world.all('kill'), world.all('dump')], [[], []]);
    world.nowMs += 2_100;
    world.feed({ type: 'tick' });
    world.say(77_000);
    assert.deepEqual([world.all('kill').length, world.all('dump').length], [0, 1]);
    world.nowMs += 2_000;
    world.say(79_000);
    assert.equal(world.all('kill').length, 1);
  });

  it('takes no notice of children that are not there', () => {
    const world = new World();
    world.feed({
      type: 'childBlocked',
      slot: 3,
      identity: 'b',
      kind: 'running',
      silentMs: 9e9,
      blockedMs: 9e9,
    });
    world.feed({ type: 'childUnblocked', slot: 3, identity: 'b' });
    assert.deepEqual(world.state.blocks, {});
    assert.deepEqual(world.all('kill'), []);
  });

  it('kills nobody at a breakpoint, whatever comes before and after', () => {
    const kinds = fc.array(fc.constantFrom(...BLOCK_KINDS), { maxLength: 60 });
    fc.assert(
      fc.property(kinds, (list) => {
        const world = new World();
        let blockedMs = 0;
        for (const kind of list) {
          world.nowMs += 1_000;
          world.feed({ type: 'tick' });
          const killedBefore = world.all('kill').length;
          blockedMs += 2_000;
          world.say(blockedMs, kind);
          if (kind === 'debugger') assert.equal(world.all('kill').length, killedBefore);
        }
        assert.ok(world.all('kill').length <= 1);
      }),
    );
  });
});
