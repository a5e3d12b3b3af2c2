import assert from 'node:assert/strict';
import { it } from 'node:test';
import { MAX_WAIT_MS, soak } from './soak.js';

it('loses no wake-up at a load that never stays the same', { timeout: 120_000 }, async (t) => {
  const report = await soak({ durationMs: 12_000, seed: 'continuous' });
  t.diagnostic(JSON.stringify(report));
  assert.deepEqual(report.lost, []);
  assert.ok(report.jobs > 100, `${report.jobs} jobs`);
  assert.ok(report.longestWaitMs < MAX_WAIT_MS, `a job waited ${report.longestWaitMs} ms`);
});
