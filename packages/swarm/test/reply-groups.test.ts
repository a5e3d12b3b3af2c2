import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as loopTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { groupSize, ReplyGroups } from '../dist/fetch/reply-groups.js';

/** Hands each on, and follows it for some steps of promises; returns what happened, in order. */
async function replay(groups: ReplyGroups, replies: readonly { steps: number }[]): Promise<string[]> {
  const log: string[] = [];
  const follow = async (reply: number, steps: number): Promise<void> => {
    await groups.turn();
    log.push(`begin ${reply}`);
    for (let step = 0; step < steps; step += 1) await null;
    log.push(`end ${reply}`);
  };
  await Promise.all(replies.map(({ steps }, at) => follow(at, steps)));
  return log;
}

describe('replies that came at the same moment', () => {
  it('each reply comes through once and in order, and a group begins when the one before it is done', async () => {
    const replies = fc.array(fc.record({ steps: fc.nat(20) }), { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 8 }), replies, async (size, given) => {
        const groups = new ReplyGroups(size);
        for (let moment = 0; moment < 2; moment += 1) {
          const log = await replay(groups, given);
          const begun = log.filter((line) => line.startsWith('begin')).map((line) => Number(line.slice(6)));
          assert.deepEqual(begun, [...given.keys()]);
          let inHand = 0;
          for (const line of log) {
            inHand += line.startsWith('begin') ? 1 : -1;
            assert.ok(inHand <= size, `${inHand} are worked on at once, in groups of ${size}`);
          }
          await loopTurn();
        }
      }),
    );
  });

  it('a reply that comes alone is not held back', () => {
    assert.equal(new ReplyGroups(1).turn(), undefined);
  });

  it('a job that waits for something else does not hold back the next group', async () => {
    const groups = new ReplyGroups(1);
    const begun: number[] = [];
    const runs = [0, 1].map(async (reply) => {
      await groups.turn();
      begun.push(reply);
      if (reply === 0) await loopTurn();
      return begun.length;
    });
    assert.deepEqual(await Promise.all(runs), [2, 2]);
  });

  it('a third of the places, within reason', () => {
    assert.deepEqual([1, 2, 10, 12, 40, 500].map(groupSize), [1, 1, 4, 4, 8, 8]);
  });
});
