/** What the log says of children. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { jobsAtEnd } from '../dist/master/narrator.js';
import type { ActiveJob, Beat } from '../dist/protocol.js';

const job = (id: string): ActiveJob => ({ queue: 'mail', id, name: 'n', startedAtMs: 1 });
const beat = (busy: number): Beat => ({ busy }) as Beat;
const drained = (error: string | null, handedBack: ActiveJob[] = []) =>
  ({ type: 'drained', handedBack, error }) as const;

describe('the jobs of the line about an exit', () => {
  it('are what the child has said, where it could', () => {
    assert.deepEqual(jobsAtEnd({ drained: drained(null), beat: beat(2), jobs: [job('1')] }), { jobs: 0 });
    const left = { ...drained(null), left: [{ queue: 'mail', id: '1' }] };
    assert.deepEqual(jobsAtEnd({ drained: left, beat: beat(2), jobs: [] }), { jobs: 1 });
  });

  it('are said to be those of its last beat otherwise, also if its hand-back has failed', () => {
    const asOf = 'last beat';
    assert.deepEqual(jobsAtEnd({ drained: null, beat: null, jobs: [] }), { jobs: 0, jobs_as_of: asOf });
    // a watchdog has seen what the beat could not say
    const seen = { drained: null, beat: beat(0), jobs: [job('1')] };
    assert.deepEqual(jobsAtEnd(seen), { jobs: 1, jobs_as_of: asOf });
    const failed = { drained: drained('not in time', [job('1')]), beat: beat(3), jobs: [job('1')] };
    assert.deepEqual(jobsAtEnd(failed), { jobs: 2, jobs_as_of: asOf });
  });
});
