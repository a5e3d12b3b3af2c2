import assert from 'node:assert/strict';
import { it } from 'node:test';
import { IS_LONG } from '../support/tier.js';
import { chaos, table } from './chaos.js';

it('chaos in a swarm app loses no job and runs none twice at once', { timeout: 240_000 }, async (t) => {
  const durationMs = IS_LONG ? 120_000 : 20_000;
  const report = await chaos({ durationMs, seed: 'many queues', isApp: true, say: () => {} });
  t.diagnostic(`\n${table(report)}`);
  assert.ok(report.ok, table(report));
  const deaths = Object.values(report.deaths).reduce((sum, count) => sum + count, 0);
  assert.ok(deaths >= 5, 'a storm that kills nobody shows nothing');
});

it('chaos loses no job and runs none twice at once', { timeout: 240_000 }, async (t) => {
  const report = await chaos({ durationMs: IS_LONG ? 120_000 : 30_000, seed: 'continuous', say: () => {} });
  t.diagnostic(`\n${table(report)}`);
  assert.ok(report.ok, table(report));
  const deaths = Object.values(report.deaths).reduce((sum, count) => sum + count, 0);
  assert.ok(deaths >= 6, 'a storm that kills nobody shows nothing');
  assert.ok((report.faults['redis back'] ?? 0) > 0, 'Redis was always there');
  assert.ok((report.deaths['heap-oom'] ?? 0) > 0, 'nobody ran out of memory');
});
