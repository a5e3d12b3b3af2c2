import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { doctorReport } from '../dist/commands/doctor-report.js';
import { plain } from '../dist/commands/palette.js';
import type { Finding } from '../dist/doctor/check.js';

const HEAD = { url: 'redis://db:6379', namespace: 'default', host: 'web1' };

function finding(check: string, more: Partial<Finding> = {}): Finding {
  const nothing = { details: [], why: null, cure: [], skipped: false };
  return { check, section: 'Fleet', status: 'ok', found: 'all is well', ...nothing, ...more };
}

describe('the report of doctor', () => {
  it('says once for several checks of a section why they were skipped', () => {
    const away = { skipped: true, found: 'not looked at: Redis cannot be used' };
    const findings = [
      finding('children', away),
      finding('clocks'),
      finding('deaths', away),
      finding('tags', { skipped: true, found: 'no master runs' }),
      finding('node-version', { ...away, section: 'App' }),
    ];
    const lines = doctorReport(findings, HEAD, 110, plain).split('\n');
    assert.deepEqual(lines, [
      'namespace default on redis://db:6379, host web1',
      '',
      'Fleet',
      '  -     2 checks      not looked at: Redis cannot be used',
      '  ok    clocks        all is well',
      '  -     tags          no master runs',
      '',
      'App',
      '  -     node-version  not looked at: Redis cannot be used',
      '',
      '1 ok, 4 skipped',
    ]);
  });
});
