import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  exactDuration,
  exactSize,
  formatBytes,
  formatDuration,
  parseDuration,
  parseSize,
} from '../dist/units.js';

describe('durations', () => {
  it('reads the documented forms', () => {
    assert.equal(parseDuration('250ms'), 250);
    assert.equal(parseDuration('25s'), 25_000);
    assert.equal(parseDuration('2m'), 120_000);
    assert.equal(parseDuration('1h'), 3_600_000);
    assert.equal(parseDuration('1.5s'), 1500);
  });

  it('refuses a bare number, and everything else', () => {
    for (const text of [
      '25',
      '',
      's',
      '-1s',
      '1 s',
      '1S',
      '1d',
      '1e3s',
      '1s2m',
      ' 1s',
      '.5s',
      `${'9'.repeat(20)}h`,
    ]) {
      assert.equal(parseDuration(text), undefined, text);
    }
  });

  it('are written so that they read back to the same', () => {
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 31 }), (ms) => {
        assert.equal(parseDuration(exactDuration(ms)), ms);
      }),
    );
  });

  it('are shown to people in at most two units, never overstated', () => {
    assert.deepEqual([250, 12_345, 200_000, 3_600_000, 18_060_000, 187_200_000].map(formatDuration), [
      '250ms',
      '12s',
      '3m 20s',
      '1h',
      '5h 1m',
      '2d 4h',
    ]);
    const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 40 }), (ms) => {
        const parts = formatDuration(ms).split(' ');
        assert.ok(parts.length <= 2);
        const shownMs = parts
          .map((part) => Number.parseInt(part, 10) * unitMs[part.replace(/\d+/, '') as keyof typeof unitMs])
          .reduce((sum, part) => sum + part, 0);
        assert.ok(shownMs <= ms && ms - shownMs < 3_600_000, `${ms} shown as ${parts.join(' ')}`);
      }),
    );
  });
});

describe('sizes', () => {
  it('tells MB from MiB', () => {
    assert.equal(parseSize('512MB'), 512_000_000);
    assert.equal(parseSize('512MiB'), 536_870_912);
    assert.equal(parseSize('1GiB'), 1_073_741_824);
    assert.equal(parseSize('1.5GB'), 1_500_000_000);
    for (const text of ['512', '512mb', '512M', '1 GiB', '-1MB', ''])
      assert.equal(parseSize(text), undefined, text);
  });

  it('are written so that they read back to the same', () => {
    assert.deepEqual([512e6, 2 ** 29, 1.5e9, 1e12, 1_500].map(exactSize), [
      '512MB',
      '512MiB',
      '1500MB',
      '1000GB',
      '1.5KB',
    ]);
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 45 }), (bytes) => {
        assert.equal(parseSize(exactSize(bytes)), bytes);
      }),
    );
  });

  it('are shown in MB, to within half of the last digit', () => {
    assert.equal(formatBytes(612_345_678), '612MB');
    assert.equal(formatBytes(4_210_000), '4.2MB');
    assert.equal(formatBytes(0), '0MB');
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 42 }), (bytes) => {
        const shown = parseSize(formatBytes(bytes)) ?? Number.NaN;
        assert.ok(Math.abs(shown - bytes) <= 500_000, `${bytes} shown as ${formatBytes(bytes)}`);
      }),
    );
  });
});
