import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Debts } from '../dist/master/debts.js';
import type { DeathNotice, Holding } from '../dist/protocol.js';
import type { Orphan } from '../dist/recovery/predecessors.js';

const HOLDING: Holding = { queue: 'mail', prefix: 'bull', redisId: 'r', tokenPrefixes: ['t'], jobIds: ['1'] };
const DEATH: DeathNotice = {
  id: 'child',
  cause: 'job-timeout',
  detail: '',
  atMs: 1,
  waiting: [],
  pinned: null,
  givenUp: [{ queue: 'mail', id: '1', startedAtMs: 1, reason: 'its time is up' }],
};

function orphan(master: string, owner: string): Orphan {
  return { owner, master, pid: 0, pidStartTicks: null, gone: true, holdings: [HOLDING], left: null };
}

describe('debts', () => {
  it('keep how a child died until all of its queues were swept', () => {
    const debts = new Debts([]);
    debts.add('child', [HOLDING]);
    debts.explain(DEATH);
    debts.swept('child', ['mail'], 0);
    assert.deepEqual(debts.deathOf('child'), DEATH);
    debts.swept('child', ['mail'], 2);
    assert.deepEqual(debts.deathOf('child'), { ...DEATH, isPartlySwept: true });
    debts.swept('child', [], 1);
    assert.equal(debts.deathOf('child'), null);
  });

  it('of a predecessor are over with its last child, and left to others where one was swept in part', () => {
    const debts = new Debts([orphan('a', 'a1'), orphan('a', 'a2'), orphan('b', 'b1')]);
    assert.equal(debts.takeGone().length, 3);
    assert.equal(debts.settle('a1', true), null);
    assert.equal(debts.concerns('a'), true);
    assert.deepEqual(debts.settle('a2', false), { master: 'a', isPartial: true });
    assert.equal(debts.concerns('a'), false);
    assert.deepEqual(debts.settle('b1', false), { master: 'b', isPartial: false });
  });
});
