/** What a child was over, for people. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type ExcessFacts, excessWords } from '../dist/master/excess-words.js';

const kind = (name: string, medianBytes: number) => {
  return { queue: 'mail', name, runs: 40, medianBytes, p95Bytes: 2 * medianBytes, approximate: false };
};
const facts: ExcessFacts = {
  excess: 'max-memory',
  reading: { rssBytes: 700e6, pssBytes: 612e6 },
  bounds: { softBytes: 500e6, hardBytes: 750e6, jobs: 1_000, ageMs: 3_600_000 },
  jobsDone: 1_012,
  ageMs: 3_700_000,
  growth: [kind('report', 12e6), kind('welcome', 1e6), kind('small', 0)],
};

describe('what a child was over', () => {
  it('is said with its size, its limit, and the jobs that leave most behind', () => {
    const words = excessWords(facts);
    assert.match(words, /^max-memory: PSS 612MB of 500MB, RSS 700MB, 1012 jobs done; /);
    assert.match(words, /mail\/report 12MB \(40 runs\), mail\/welcome 1MB \(40 runs\)$/);
    const alone = excessWords({ ...facts, reading: { rssBytes: 700e6, pssBytes: null }, growth: [] });
    assert.equal(alone, 'max-memory: RSS 700MB of 500MB, 1012 jobs done');
    assert.match(excessWords({ ...facts, excess: 'max-memory-hard' }), /^RSS 700MB of 750MB, /);
  });

  it('is no more than the limit where memory is not what it was', () => {
    assert.equal(excessWords({ ...facts, excess: 'max-jobs' }), 'max-jobs: 1012 jobs done of 1000');
    assert.match(excessWords({ ...facts, excess: 'max-age' }), /^max-age: 1h 1m of 1h/);
  });
});
