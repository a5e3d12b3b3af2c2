/** What becomes of places whose waiter has decided otherwise. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { define } from '../dist/limiter/definition.js';
import type { Operations } from '../dist/limiter/operations.js';
import { Waiter } from '../dist/limiter/waiter.js';
import { WaitingRoom } from '../dist/limiter/waiting-room.js';

/** A waiter that is in the queue; its `leave` is under way until `answer` says that it was let in meanwhile. */
function leaving() {
  const cancelled: string[] = [];
  let answer = (): void => {};
  const answered = new Promise((resolve) => {
    answer = () => resolve({ kind: 'granted', endsAtMs: 31_000, nowMs: 1_000, sentAtMs: 0 });
  });
  const operations = {
    leave: () => answered,
    cancel: async (...[, id, takenAtMs, counter]: unknown[]) => {
      cancelled.push(`${id} ${takenAtMs} ${counter}`);
    },
  } as unknown as Operations;
  const room = new WaitingRoom(operations, () => {});
  const terms = { leaseMs: 30_000, waitMs: 5_000, cost: 1 };
  const waiter = new Waiter(define('concurrent', 'one', [1]), terms, 'o');
  waiter.isQueued = true;
  room.enter(waiter);
  return { room, waiter, cancelled, answer, left: room.giveUp(waiter) };
}

describe('a waiter whose time is up', () => {
  it('has the place that it was given meanwhile', async () => {
    const { waiter, cancelled, answer, left } = leaving();
    answer();
    await left;
    assert.equal(waiter.outcome?.kind, 'granted');
    assert.deepEqual(cancelled, []);
  });

  it('and has failed before it was told gives the place back', async () => {
    const { room, waiter, cancelled, answer, left } = leaving();
    waiter.settle({ kind: 'failed', error: new Error('Redis did not answer') });
    room.exit(waiter);
    answer();
    await left;
    assert.deepEqual(cancelled, [`${waiter.id} 1000 waited`]);
  });

  it('keeps the place that a message brought before the answer', async () => {
    const { room, waiter, cancelled, answer, left } = leaving();
    room.granted(waiter.id, 31_000);
    room.exit(waiter);
    answer();
    await left;
    assert.deepEqual(cancelled, []);
  });
});
