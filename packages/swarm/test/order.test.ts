import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { blockJobs, type Order, orderOf, pick } from '../dist/fetch/order.js';

const weightList = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 8 });
const openList = (length: number) => fc.array(fc.boolean(), { minLength: length, maxLength: length });

/** A generator of our own, so that a run that fails can be repeated. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe('the order of queues', () => {
  it('is strict without weights, weighted with any', () => {
    assert.deepEqual(orderOf([null, null]), { weights: null });
    assert.deepEqual(orderOf([null, 3, null]), { weights: [1, 3, 1] });
  });

  it('strict: is the first that is open', () => {
    fc.assert(
      fc.property(
        fc.array(fc.boolean(), { maxLength: 10 }),
        fc.double({ min: 0, max: 0.999 }),
        (open, random) => {
          const picked = pick({ weights: null }, (at) => open[at] === true, open.length, random);
          assert.equal(picked, open.indexOf(true));
        },
      ),
    );
  });

  it('weighted: gives each open queue exactly its part of the range of randomness', () => {
    const scenes = weightList.chain((weights) =>
      fc.record({ weights: fc.constant(weights), open: openList(weights.length) }),
    );
    fc.assert(
      fc.property(scenes, ({ weights, open }) => {
        const isOpen = (at: number): boolean => open[at] === true;
        const total = weights.reduce((sum, weight, at) => sum + (isOpen(at) ? weight : 0), 0);
        const counts = weights.map(() => 0);
        for (let slice = 0; slice < total; slice += 1) {
          const at = pick({ weights }, isOpen, weights.length, (slice + 0.5) / total);
          counts[at] = (counts[at] ?? 0) + 1;
        }
        assert.deepEqual(
          counts,
          weights.map((weight, at) => (isOpen(at) ? weight : 0)),
        );
        if (total === 0) assert.equal(pick({ weights }, isOpen, weights.length, 0.5), -1);
      }),
    );
  });

  it('is an open queue for any randomness', () => {
    fc.assert(
      fc.property(
        weightList,
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (weights, random) => {
          const at = pick({ weights }, () => true, weights.length, random);
          assert.ok(at >= 0 && at < weights.length);
        },
      ),
    );
  });
});

describe('blocks of draws', () => {
  it('are for fast jobs alone, and not for strict order', () => {
    const weighted: Order = { weights: [1, 2] };
    assert.equal(blockJobs({ weights: null }, 0.1, 10), 0);
    assert.equal(blockJobs(weighted, 0, 1), 16);
    assert.equal(blockJobs(weighted, 3, 1), 3);
    assert.equal(blockJobs(weighted, 20, 10), 5, 'another place draws meanwhile');
    assert.equal(blockJobs(weighted, 1_000, 10), 1);
  });

  it('leave the shares of jobs as they are, also where the jobs of one queue are slower', () => {
    const weights = [4, 2, 1, 1];
    const jobMsOf = [0.5, 20, 0.5, 3];
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const random = randomOf(seed);
        const counts = weights.map(() => 0);
        let jobMs = 0;
        let jobs = 0;
        while (jobs < 40_000) {
          const left = blockJobs({ weights }, jobMs, 1);
          const at = pick({ weights }, () => true, weights.length, random());
          for (let job = 0; job < left; job += 1) {
            counts[at] = (counts[at] ?? 0) + 1;
            jobs += 1;
            jobMs += ((jobMsOf[at] ?? 0) - jobMs) * 0.05;
          }
        }
        for (const [at, weight] of weights.entries()) {
          const share = (counts[at] ?? 0) / jobs;
          // five standard errors of draws that count eightfold
          const slack = 5 * Math.sqrt((8 * (weight / 8) * (1 - weight / 8)) / jobs);
          assert.ok(Math.abs(share - weight / 8) < slack, `queue ${at}: ${share}, should be ${weight / 8}`);
        }
      }),
      { numRuns: 10 },
    );
  });
});
