import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as loopTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { groupSize, ReplyGroups } from '../dist/fetch/reply-groups.js';

/** Hands each on, and follows it for some steps of promises; returns what happened, in order. */
async function replay(groups: ReplyGroups, replies: readonly { steps: number }[]): Promise<string[]> {
  const log: string[] = [];
  const follow = async (reply: number, steps: number): Promise<void> => {
    groups.came();
    await groups.turn();
    log.push(`begin ${reply}`);
    for (let step = 0; step < steps; step += 1) await null;
    log.push(`end ${reply}`);
  };
  send(groups, replies.length);
  await Promise.all(replies.map(({ steps }, at) => follow(at, steps)));
  return log;
}

function send(groups: ReplyGroups, scripts: number): void {
  for (let script = 0; script < scripts; script += 1) groups.sent();
}

/** The most that were begun and not ended. */
function mostAtOnce(log: readonly string[]): number {
  let inHand = 0;
  return Math.max(
    ...log.map((line) => {
      inHand += line.startsWith('begin') ? 1 : -1;
      return inHand;
    }),
  );
}

describe('replies that came at the same moment', () => {
  it('each reply comes through once and in order, and a group begins when the one before it is done', async () => {
    const replies = fc.array(fc.record({ steps: fc.nat(20) }), { maxLength: 40 });
    const sizes = fc.integer({ min: 1, max: 8 });
    await fc.assert(
      fc.asyncProperty(sizes, fc.nat(12), replies, async (size, atRedis, given) => {
        const groups = new ReplyGroups(size);
        send(groups, atRedis);
        for (let moment = 0; moment < 2; moment += 1) {
          const log = await replay(groups, given);
          const begun = log.filter((line) => line.startsWith('begin')).map((line) => Number(line.slice(6)));
          assert.deepEqual(begun, [...given.keys()]);
          assert.ok(mostAtOnce(log) <= Math.max(1, Math.min(size, atRedis)));
          await loopTurn();
        }
      }),
    );
  });

  it('are worked on together as far as Redis has something to do meanwhile, one by one where it has nothing', async () => {
    const steps = { steps: 10 };
    const groups = new ReplyGroups(4);
    assert.equal(mostAtOnce(await replay(groups, [steps, steps, steps])), 1);
    send(groups, 3);
    assert.equal(mostAtOnce(await replay(groups, [steps, steps, steps, steps])), 3);
    send(groups, 3);
    assert.equal(mostAtOnce(await replay(groups, Array(9).fill(steps))), 4);
  });

  it('a job that waits for something else does not hold back the next group', async () => {
    const groups = new ReplyGroups(1);
    const begun: number[] = [];
    const runs = [0, 1].map(async (reply) => {
      send(groups, 1);
      groups.came();
      await groups.turn();
      begun.push(reply);
      if (reply === 0) await loopTurn();
      return begun.length;
    });
    assert.deepEqual(await Promise.all(runs), [2, 2]);
  });

  it('a fifth of the places, within reason', () => {
    assert.deepEqual([1, 2, 10, 12, 40, 500].map(groupSize), [1, 1, 2, 3, 8, 8]);
  });
});
