import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { heapFlags } from '../dist/process/heap-flags.js';

const MIB = 2 ** 20;
const limits = (softMib: number, hardMib = 1.5 * softMib) => ({
  maxMemoryBytes: softMib * MIB,
  maxMemoryHardBytes: hardMib * MIB,
});

describe('V8 limits of a child', () => {
  it('come with a soft limit, and only then', () => {
    const none = { maxMemoryBytes: null, maxMemoryHardBytes: null };
    assert.deepEqual(heapFlags(none, []), []);
    assert.deepEqual(heapFlags({ ...none, maxMemoryHardBytes: 1e9 }, []), []);
    assert.deepEqual(heapFlags(limits(512), []), ['--max-old-space-size=768', '--max-semi-space-size=8']);
    assert.deepEqual(heapFlags(limits(1_024, 2_048), []), [
      '--max-old-space-size=2048',
      '--max-semi-space-size=16',
    ]);
    assert.deepEqual(heapFlags(limits(64), []), ['--max-old-space-size=256', '--max-semi-space-size=2']);
  });

  it('let the heap reach the soft limit first, and take little of it for young objects', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 16, max: 100_000 }),
        fc.double({ min: 1, max: 4, noNaN: true }),
        (soft, factor) => {
          const [old = 0, semi = 0] = heapFlags(limits(soft, soft * factor), []).map((flag) =>
            Number(flag.split('=')[1]),
          );
          assert.ok(old >= soft, `${old} MiB of old space for ${soft}`);
          assert.ok(Number.isInteger(Math.log2(semi)) && semi >= 2 && semi <= 16);
          assert.ok(semi === 2 || 3 * semi <= 0.07 * soft, `3 × ${semi} MiB of ${soft}`);
        },
      ),
    );
  });

  it('stay out of the way of what is set', () => {
    const old = '--max-old-space-size=768';
    const semi = '--max-semi-space-size=8';
    const with512 = (nodeArguments: string[], nodeOptions?: string) =>
      heapFlags(limits(512), nodeArguments, nodeOptions);
    assert.deepEqual(with512(['--max-old-space-size=300']), [semi]);
    assert.deepEqual(with512(['--max_old_space_size=300']), [semi]);
    assert.deepEqual(with512(['--max-old-space-size-percentage=50']), [semi]);
    assert.deepEqual(with512([], '--expose-gc --max-semi-space-size=32'), [old]);
    assert.deepEqual(with512([], '--require "./a b.js" --min-semi-space-size=32'), [old]);
    assert.deepEqual(with512(['--max-heap-size=400']), []);
    assert.deepEqual(with512(['--max-heap-size=400'], '--max_heap_size=9'), []);
    assert.deepEqual(with512(['--expose-gc'], '--enable-source-maps'), [old, semi]);
  });

  it('are what node makes of them', () => {
    const flags = heapFlags(limits(512), []);
    const script = 'process.stdout.write(String(require("v8").getHeapStatistics().heap_size_limit))';
    const limitMib =
      Number(execFileSync(process.execPath, [...flags, '-e', script], { encoding: 'utf8' })) / MIB;
    assert.ok(limitMib >= 768 && limitMib <= 768 + 3 * 8, `${limitMib} MiB`);
  });
});
