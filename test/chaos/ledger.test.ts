import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { judge, type LedgerLine, parseLedger, runsOf } from './ledger.js';

const line = (what: 'start' | 'end', id: string, run: string, pid: number, at: number): LedgerLine => {
  return { what, queue: 'q', id, run, pid, at };
};
const calm = (): boolean => false;
const stormy = (): boolean => true;

describe('the ledger of a chaos run', () => {
  it('finds nothing wrong where nothing is', () => {
    const runs = runsOf([line('start', '1', 'a', 10, 0), line('end', '1', 'a', 10, 5)], new Map());
    const verdict = judge(runs, ['q/1'], calm);
    assert.deepEqual(verdict, { runs: 1, unfinished: [], overlapping: [], repeated: [], unexplained: [] });
  });

  it('sees a job that is said to have ended and never did', () => {
    const runs = runsOf([line('start', '1', 'a', 10, 0)], new Map([[10, 4]]));
    assert.deepEqual(judge(runs, ['q/1', 'q/2'], calm).unfinished, ['q/1', 'q/2']);
  });

  it('sees two runs at once, and none where the first process had died', () => {
    const lines = [
      line('start', '1', 'a', 10, 0),
      line('start', '1', 'b', 11, 5),
      line('end', '1', 'b', 11, 9),
    ];
    assert.deepEqual(judge(runsOf(lines, new Map([[10, 4]])), ['q/1'], calm).overlapping, []);
    assert.deepEqual(judge(runsOf(lines, new Map([[10, 6]])), ['q/1'], calm).overlapping, ['q/1']);
    assert.deepEqual(judge(runsOf(lines, new Map()), ['q/1'], calm).overlapping, ['q/1'], 'it still runs');
  });

  it('takes a fault as the reason of a second run, and nothing else', () => {
    const lines = [
      line('start', '1', 'a', 10, 0),
      line('end', '1', 'a', 10, 5),
      line('start', '1', 'b', 11, 7),
      line('end', '1', 'b', 11, 9),
    ];
    const runs = runsOf(lines, new Map());
    assert.deepEqual(judge(runs, ['q/1'], stormy).unexplained, []);
    assert.deepEqual(judge(runs, ['q/1'], calm).unexplained, ['q/1']);
    assert.deepEqual(judge(runs, ['q/1'], calm).repeated, ['q/1']);
  });

  it('leaves out what is no line', () => {
    assert.equal(parseLedger(`${JSON.stringify(line('start', '1', 'a', 1, 1))}\n{"what":"sta`).length, 1);
  });
});
