import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Known } from '../dist/fetch/known.js';

const nothing = { job: false, limitedMs: 0, dueAtMs: 0 };
const aJob = { job: true, limitedMs: 0, dueAtMs: 0 };

describe('what is known of a queue', () => {
  it('is ready after a sign, until a fetch that was sent later brings nothing', () => {
    const known = new Known();
    assert.equal(known.ready, false);
    known.sign();
    assert.deepEqual([known.ready, known.hint], [true, 1]);
    const sentBefore = known.signs;
    known.sign();
    known.replied(nothing, sentBefore, 0);
    assert.equal(known.ready, true, 'a sign came after that fetch was sent');
    known.replied(nothing, known.signs, 0);
    assert.equal(known.ready, false);
  });

  it('is what the last reply says', () => {
    const known = new Known();
    known.replied(aJob, known.signs, 0);
    assert.equal(known.ready, true);
    known.replied(nothing, known.signs, 0);
    known.replied(aJob, known.signs, 0);
    assert.equal(known.ready, true);
  });

  it('is limited for as long as the reply says, and ready after it', () => {
    const known = new Known();
    known.sign();
    known.replied({ job: false, limitedMs: 500, dueAtMs: 0 }, known.signs, 1_000);
    assert.deepEqual(
      [known.isLimited(1_499), known.isLimited(1_500), known.nextSignAtMs],
      [true, false, 1_500],
    );
    known.due(1_500);
    assert.deepEqual([known.ready, known.nextSignAtMs], [true, Number.POSITIVE_INFINITY]);
  });

  it('keeps the time of the next delayed job through a rate limit', () => {
    const known = new Known();
    known.replied({ job: false, limitedMs: 0, dueAtMs: 9_000 }, known.signs, 1_000);
    known.replied({ job: false, limitedMs: 500, dueAtMs: 0 }, known.signs, 1_000);
    assert.equal(known.nextSignAtMs, 1_500);
    known.due(1_500);
    assert.equal(known.nextSignAtMs, 9_000);
    known.delayed(8_000);
    known.delayed(8_500);
    assert.equal(known.nextSignAtMs, 8_000);
    known.due(8_000);
    assert.equal(known.ready, true);
  });

  it('has as many hints as a look has seen jobs', () => {
    const known = new Known();
    known.saw({ jobs: 7, dueAtMs: 0, isCapped: false }, known.signs);
    assert.deepEqual([known.ready, known.hint, known.isCapped], [true, 7, false]);
    const sentBefore = known.signs;
    known.sign();
    known.saw({ jobs: 0, dueAtMs: 0, isCapped: true }, sentBefore);
    assert.deepEqual([known.ready, known.isCapped], [true, true], 'a sign came after that look was sent');
    known.saw({ jobs: 0, dueAtMs: 4_000, isCapped: true }, known.signs);
    assert.deepEqual([known.ready, known.hint, known.nextSignAtMs], [false, 0, 4_000]);
  });
});
