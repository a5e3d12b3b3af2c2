import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { JobBoard, readJobBoard } from '../dist/child/job-board.js';
import { isContextCheap, JobContext } from '../dist/child/job-context.js';
import type { DumpJob } from '../dist/dump.js';

function job(id: string, more: Partial<DumpJob> = {}): DumpJob {
  return { queue: 'mail', id, name: 'welcome', attempt: 1, startedAtMs: 1_700_000_000_000, ...more };
}

describe('the board of jobs', () => {
  it('shows those that are in hand, oldest first', () => {
    const board = new JobBoard();
    assert.deepEqual(readJobBoard(board.memory), []);
    const late = board.begin(job('2', { startedAtMs: 1_700_000_000_005, attempt: null }));
    board.begin(job('1'));
    assert.deepEqual(readJobBoard(board.memory), [
      job('1'),
      job('2', { startedAtMs: 1_700_000_000_005, attempt: null }),
    ]);
    board.end(late);
    assert.deepEqual(readJobBoard(board.memory), [job('1')]);
  });

  it('takes any number of them, and gives every place back', () => {
    const board = new JobBoard();
    for (let round = 0; round < 3; round += 1) {
      const places = Array.from({ length: 100 }, (_, index) => board.begin(job(String(index))));
      assert.equal(readJobBoard(board.memory).length, 64);
      for (const place of places) board.end(place);
      assert.deepEqual(readJobBoard(board.memory), []);
    }
  });

  it('cuts a name that is too long, and shows no job by a part of its id', () => {
    const board = new JobBoard();
    board.begin(job('1', { name: 'n'.repeat(10_000) }));
    board.begin(job('2'.repeat(10_000)));
    const [first, ...more] = readJobBoard(board.memory);
    assert.deepEqual([first?.id, more.length], ['1', 0]);
    assert.match(first?.name ?? '', /^n{300,}$/);
  });

  it('keeps ids whole, whatever they are made of', () => {
    const id = fc.string({ unit: 'grapheme', maxLength: 40 });
    fc.assert(
      fc.property(id, id, (one, two) => {
        const board = new JobBoard();
        board.begin(job(one, { queue: two }));
        assert.deepEqual(readJobBoard(board.memory), [job(one, { queue: two })]);
      }),
    );
  });
});

describe('the context of a job', () => {
  it('is kept where it costs nothing', () => {
    assert.equal(isContextCheap('24.1.0', [], undefined), true);
    assert.equal(isContextCheap('22.20.0', [], undefined), false);
    assert.equal(isContextCheap('24.1.0', ['--no-async-context-frame'], undefined), false);
    assert.equal(isContextCheap('24.1.0', [], '--no-warnings --no-async-context-frame'), false);
  });

  it('says whose code runs, over awaits', async () => {
    const context = new JobContext(true);
    const run = (id: string) =>
      context.run(job(id), async () => {
        await new Promise((resolve) => setTimeout(resolve, 2));
        return context.current?.id;
      });
    assert.deepEqual(await Promise.all([run('1'), run('2')]), ['1', '2']);
    assert.equal(context.current, null);
  });

  it('is nobody’s where it is not kept', () => {
    const context = new JobContext(false);
    assert.equal(
      context.run(job('1'), () => context.current),
      null,
    );
    assert.equal(context.isKept, false);
  });
});
