/** Trouble that comes again and again. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { LogFields, Logger } from '../dist/log.js';
import { ReleaseTrouble } from '../dist/master/release-trouble.js';
import { Repeats } from '../dist/master/repeats.js';

function setUp() {
  const lines: { atMs: number; message: string; fields: LogFields }[] = [];
  const clock = { nowMs: 0 };
  const say = (message: string, fields: LogFields = {}): void => {
    lines.push({ atMs: clock.nowMs, message, fields });
  };
  const log = { info: say, warn: say } as Logger;
  return { lines, clock, log, repeats: new Repeats(log, () => clock.nowMs) };
}

describe('trouble twice a second for ten minutes', () => {
  it('is a handful of lines that count all of it, and one when it is over', () => {
    const { lines, clock, repeats } = setUp();
    for (; clock.nowMs < 600_000; clock.nowMs += 500) repeats.warn('release', 'failed', { error: 'away' });
    assert.deepEqual(
      lines.map(({ atMs }) => atMs),
      [0, 5_000, 15_000, 35_000, 75_000, 155_000, 315_000],
    );
    assert.deepEqual(lines[1]?.fields, { error: 'away', repeated: 10, for: '5.0s' });
    const said = lines.reduce((sum, { fields }) => sum + Number(fields['repeated'] ?? 1), 0);
    assert.equal(said, 1 + 315_000 / 500);
    repeats.over('release', 'works again');
    repeats.over('release', 'works again');
    assert.equal(lines.length, 8);
    assert.deepEqual(lines[7]?.fields, { failed: 1_200, after: '600.0s' });
    repeats.warn('release', 'failed', {});
    assert.equal(lines.length, 9, 'new trouble is said at once');
  });

  it('is told apart by its kind, and its beginning can be said in full', () => {
    const { lines, repeats } = setUp();
    for (let at = 0; at < 50; at++) for (const kind of ['a', 'b']) repeats.warn(kind, kind, {}, 20);
    assert.equal(lines.filter(({ message }) => message === 'a').length, 20);
    assert.equal(lines.length, 40);
  });
});

describe('releases that fail', () => {
  it('are over when the last of them has succeeded', () => {
    const { lines, log } = setUp();
    const trouble = new ReleaseTrouble(log);
    const by = { slot: 0, generation: 0, pid: 1 };
    for (const owner of ['a', 'b', 'a', 'b']) trouble.failed(by, owner, 'away');
    trouble.ended('a');
    trouble.ended('never failed');
    assert.equal(lines.length, 1);
    trouble.ended('b');
    assert.deepEqual(
      lines.map(({ message }) => message),
      ['release failed, another try follows', 'releases succeed again'],
    );
    assert.equal(lines[1]?.fields['failed'], 4);
  });
});
