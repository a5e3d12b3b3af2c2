import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type CaptureFacts, MAX_HEAP_BYTES, refusal } from '../dist/master/capture-refusal.js';

const heap: CaptureFacts = {
  kind: 'heap',
  isReady: true,
  isLeaving: false,
  blockedMs: 0,
  heapUsedBytes: 20e6,
  freeBytes: 4e9,
  force: false,
};
const profile: CaptureFacts = { ...heap, kind: 'profile' };

describe('a child may be profiled, or its heap written down,', () => {
  it('while it works', () => {
    assert.equal(refusal(heap), null);
    assert.equal(refusal(profile), null);
    assert.equal(refusal({ ...heap, heapUsedBytes: null, freeBytes: null }), null);
  });

  it('not before it is ready, nor when it leaves', () => {
    assert.match(refusal({ ...profile, isReady: false }) ?? '', /not ready yet/);
    assert.match(refusal({ ...profile, isLeaving: true, force: true }) ?? '', /on its way out/);
  });

  it('not while its loop stands still; a short step does not count', () => {
    assert.match(refusal({ ...profile, blockedMs: 12_000 }) ?? '', /has not turned for 12s.*swarm dump/);
    assert.match(refusal({ ...heap, blockedMs: 12_000, force: true }) ?? '', /can take no heap snapshot/);
    assert.equal(refusal({ ...profile, blockedMs: 400 }), null);
  });

  it('no large heap, nor one that there is no memory for, unless it is forced', () => {
    const large = { ...heap, heapUsedBytes: MAX_HEAP_BYTES + 1e6 };
    assert.match(refusal(large) ?? '', /65MB in use.*--force/);
    assert.equal(refusal({ ...large, force: true }), null);
    assert.equal(refusal({ ...large, kind: 'profile' }), null);
    const poor = { ...heap, freeBytes: 100e6 };
    assert.match(refusal(poor) ?? '', /takes up to 180MB of memory, and 100MB are left/);
    assert.equal(refusal({ ...poor, force: true }), null);
  });
});
