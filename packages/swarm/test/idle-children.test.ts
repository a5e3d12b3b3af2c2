import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { Logger } from '../dist/log.js';
import { IdleChildren } from '../dist/master/idle-children.js';
import type { ChildHandle } from '../dist/process/child-handle.js';
import type { MasterMessage, NotConsuming } from '../dist/protocol.js';
import type { SupervisorEvent } from '../dist/supervisor/events.js';

const ALARM: NotConsuming = {
  ...{ queue: 'mail', prefix: 'bull', redisId: 'r', waiting: 7, forMs: 30_000 },
  state: 'running 0 of 1',
};
const BLIND: NotConsuming = { ...ALARM, waiting: null };

/** A child in slot 0 that does not consume, and a sibling that sees what it is told to see. */
function scene(t: TestContext, { processed = 5, isSeated = true, hasSibling = true } = {}) {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const asked: MasterMessage[] = [];
  const events: SupervisorEvent[] = [];
  const notes: string[] = [];
  const warned: object[] = [];
  const child = {
    slot: 0,
    identity: 'a',
    group: 'default',
    generation: 0,
    pid: 1,
    exit: null,
    beat: { processed },
  };
  const sibling = { identity: 'b', send: (message: MasterMessage) => asked.push(message) };
  const idle = new IdleChildren({
    log: { warn: (_: string, fields: object) => warned.push(fields) } as unknown as Logger,
    isSeated: () => isSeated,
    siblingOf: () => (hasSibling ? (sibling as unknown as ChildHandle) : null),
    dump: async (_, told) => notes.push(...told),
    ask: (event) => events.push(event),
  });
  const hear = async (alarm: NotConsuming): Promise<void> => {
    idle.hear(child as unknown as ChildHandle, { type: 'notConsuming', alarm });
    await turn();
  };
  const see = async (waiting: number | null): Promise<void> => {
    const last = asked.at(-1);
    const lookId = last?.type === 'lookAtQueue' ? last.lookId : '';
    idle.onSeen({ type: 'queueSeen', lookId, waiting });
    await turn();
  };
  return { hear, see, asked, events, notes, warned, idle, child };
}

describe('a child that says it does not consume', () => {
  it('is dumped with the state of its fetcher, and recycled', async (t) => {
    const { hear, events, notes, asked } = scene(t);
    await hear(ALARM);
    assert.deepEqual(asked, []);
    assert.deepEqual(notes, ['not consuming: 7 jobs wait in mail, none begun for 30000 ms: running 0 of 1']);
    const order = { slot: 0, identity: 'a', detail: 'not-consuming', overlap: true };
    assert.deepEqual(events, [{ type: 'recycleRequested', ...order }]);
  });

  it('is left alone where it is on its way out', async (t) => {
    const { hear, events, notes } = scene(t, { isSeated: false });
    await hear(ALARM);
    assert.deepEqual([events, notes], [[], []]);
  });

  it('and never worked is recycled once, then ever more seldom, and each time spoken of', async (t) => {
    const { hear, events, warned } = scene(t, { processed: 0 });
    for (let round = 0; round < 3; round++) await hear(ALARM);
    assert.equal(events.length, 1);
    assert.deepEqual(
      warned.map((fields) => (fields as { recycle: boolean }).recycle),
      [true, false, false],
    );
  });

  it('because its Redis does not answer is recycled when a sibling has seen jobs twice', async (t) => {
    const { hear, see, events, asked } = scene(t);
    await hear(BLIND);
    const [look] = asked;
    assert.deepEqual(look, { ...look, type: 'lookAtQueue', queue: 'mail', prefix: 'bull', redisId: 'r' });
    await see(3);
    await see(3);
    assert.deepEqual(events, [], 'one answer a question');
    await hear(BLIND);
    await see(4);
    assert.equal(events.length, 1);
  });

  it('because Redis answers nobody is left alone, also when it comes back', async (t) => {
    const { hear, see, events } = scene(t);
    for (let round = 0; round < 5; round++) {
      await hear(BLIND);
      t.mock.timers.tick(3_000);
      await see(9);
    }
    await hear(BLIND);
    await see(9);
    assert.deepEqual(events, []);
  });

  it('because its Redis does not answer is left alone where a sibling sees nothing, or there is none', async (t) => {
    const { hear, see, events } = scene(t);
    for (const waiting of [0, null, 0, null]) {
      await hear(BLIND);
      await see(waiting);
    }
    assert.deepEqual(events, []);
  });

  it('without a sibling has nobody who could tell', async (t) => {
    const { hear, events, asked } = scene(t, { hasSibling: false });
    await hear(BLIND);
    assert.deepEqual([events, asked], [[], []]);
  });
});
