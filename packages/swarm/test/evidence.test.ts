import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import fc from 'fast-check';
import { OomLedger, OomWitness } from '../dist/process/evidence.js';
import { raisedScore } from '../dist/process/oom-score.js';
import { isExiting } from '../dist/process/proc.js';
import { until } from './redis-server.js';

const SOURCE = 'memory.events';

test('each count explains one death at most, and what was counted before does not', () => {
  const step = fc.oneof(
    fc.record({ type: fc.constant('kill' as const), by: fc.nat({ max: 3 }) }),
    fc.record({ type: fc.constant('claim' as const), by: fc.constant(0) }),
  );
  fc.assert(
    fc.property(fc.nat(), fc.array(step), (base, steps) => {
      const ledger = new OomLedger();
      assert.equal(ledger.unclaimed(SOURCE, 0), null);
      ledger.observe(SOURCE, base, 0);
      let [count, claimed] = [base, 0];
      for (const { type, by } of steps) {
        if (type === 'kill') {
          count += by;
          ledger.observe(SOURCE, count, 0);
        } else if ((ledger.unclaimed(SOURCE, 0) ?? 0) > 0) {
          ledger.claim(SOURCE);
          claimed += 1;
        }
        assert.equal(ledger.unclaimed(SOURCE, 0), count - base - claimed);
      }
    }),
  );
});

test('a count is not kept for ever, and a new cgroup of an old name begins anew', () => {
  const ledger = new OomLedger();
  ledger.observe(SOURCE, 5, 0);
  ledger.observe(SOURCE, 6, 1_000);
  assert.equal(ledger.unclaimed(SOURCE, 2_000), 1);
  assert.equal(ledger.unclaimed(SOURCE, 60_000), 0);
  ledger.observe(SOURCE, 7, 60_000);
  ledger.observe(SOURCE, 1, 61_000);
  assert.equal(ledger.unclaimed(SOURCE, 61_000), 0);
  ledger.observe(SOURCE, 2, 61_000);
  assert.equal(ledger.unclaimed(SOURCE, 61_000), 1);
  ledger.keepOnly(new Set());
  assert.equal(ledger.unclaimed(SOURCE, 61_000), null);
});

test('of a process that nobody killed for memory, nothing is said', () => {
  const witness = new OomWitness();
  try {
    witness.look([process.pid], 0);
    const { counted, kernelLog, anonRssBytes } = witness.testify(process.pid, 0, 10);
    assert.deepEqual(
      { counted, kernelLog, anonRssBytes },
      { counted: 0, kernelLog: null, anonRssBytes: null },
    );
    assert.equal(witness.testify(2 ** 30, 0, 10).counterFile, null);
  } finally {
    witness.close();
  }
});

test('a process is where it was while it lived, also if it is looked at while it dies', () => {
  for (const dies of [true, false]) {
    const files = ['/own/memory.oom_control', '/memory.oom_control'];
    const cgroups = { counterOf: () => ({ file: files.shift() as string, cgroup: '/' }) };
    const witness = new OomWitness({ cgroups, isExiting: () => dies });
    try {
      for (const nowMs of [0, 1_000]) witness.look([1], nowMs);
      const { counterFile } = witness.testify(1, 0, 1_000);
      assert.equal(counterFile, dies ? '/own/memory.oom_control' : '/memory.oom_control');
    } finally {
      witness.close();
    }
  }
});

test('a zombie is on its way out', {
  skip: process.platform !== 'linux' && 'there is no /proc',
}, async (t) => {
  // nobody waits for the second one; a shell might, so it ends when that is gone
  const parent = spawn('sh', ['-c', 'sleep 0.3 & echo $!; exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => parent.kill('SIGKILL'));
  const pid = Number(String(await once(parent.stdout, 'data')));
  await until(() => isExiting(pid), 'it has ended', 5_000);
  assert.equal(isExiting(process.pid), false);
});

test('a child’s score is only ever raised, and stays one', () => {
  fc.assert(
    fc.property(fc.integer({ min: -1_000, max: 1_000 }), (own) => {
      const score = raisedScore(own);
      assert.ok(score <= 1_000 && (score > own || own === 1_000));
    }),
  );
});
