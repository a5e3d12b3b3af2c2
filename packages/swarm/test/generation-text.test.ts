/** What the header of a master says of its generations. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { generationText } from '../dist/commands/generation-text.js';
import type { ChildRecord } from '../dist/registry/schema.js';

const children = (...generations: number[]) =>
  generations.map((generation) => ({ state: 'up', generation }) as ChildRecord);

describe('the generation of a master', () => {
  it('is that of the children that serve', () => {
    assert.equal(generationText({ generation: 2, children: children(2, 2) }, true), 'generation 2');
    assert.equal(generationText({ generation: 2, children: [] }, true), 'generation 2');
    const backsOff = [{ state: 'backoff', generation: 1 } as ChildRecord, ...children(2)];
    assert.equal(generationText({ generation: 2, children: backsOff }, true), 'generation 2');
  });

  it('says where a roll is, and why it was given up', () => {
    const old = { generation: 2, children: children(1, 1, 0) };
    assert.equal(generationText(old, true), 'generation 0 and 1, rolling to 2');
    const failed = { ...old, rollError: 'the new child did not live: Error: no\u001b[2J' };
    assert.equal(
      generationText(failed, true),
      'generation 0 and 1, the roll to 2 failed: the new child did not live: Error: no\\u{1b}[2J',
    );
    assert.equal(generationText(failed, false), 'generation 0 and 1, the roll to 2 failed');
  });
});
