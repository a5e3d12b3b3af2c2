import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MemoryCurve } from '../dist/process/memory-curve.js';

const reading = (rssBytes: number) => ({ rssBytes, pssBytes: null, heapUsedBytes: null });

test('a curve is at most 60 points of the last minute, oldest first, and ends with the newest reading', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 5_000 }), { minLength: 1, maxLength: 300 }), (gaps) => {
      const curve = new MemoryCurve();
      let nowMs = 0;
      gaps.forEach((gapMs, at) => {
        nowMs += gapMs;
        curve.push(reading(at), nowMs);
      });
      const points = curve.points(nowMs);
      assert.ok(points.length >= 1 && points.length <= 60);
      assert.deepEqual(points.at(-1), [0, gaps.length - 1, null, null]);
      const ages = points.map(([secondsAgo]) => secondsAgo);
      assert.deepEqual(
        ages,
        ages.toSorted((a, b) => b - a),
      );
      assert.ok((ages[0] ?? 0) <= 60);
    }),
  );
});

test('measured ten times a second, it still covers the minute', () => {
  const curve = new MemoryCurve();
  for (let at = 0; at <= 900; at += 1) curve.push(reading(at), at * 100);
  const points = curve.points(90_000);
  assert.ok(
    points.length >= 55 && (points[0]?.[0] ?? 0) > 50,
    `${points.length} points from ${points[0]?.[0]} s`,
  );
});

test('what was not measured is no point, and what is old is none', () => {
  const curve = new MemoryCurve();
  curve.push({ rssBytes: null, pssBytes: null, heapUsedBytes: null }, 0);
  assert.deepEqual(curve.points(0), []);
  curve.push(reading(1), 0);
  assert.deepEqual(curve.points(61_000), []);
});
