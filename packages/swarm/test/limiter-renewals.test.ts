/** How leases are renewed, and when they are taken for lost, whatever Redis answers. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { define } from '../dist/limiter/definition.js';
import { HeldLease } from '../dist/limiter/held-lease.js';
import type { Operations } from '../dist/limiter/operations.js';
import { Renewals } from '../dist/limiter/renewals.js';
import { until } from './redis-server.js';

type Renew = (ids: readonly string[], sentAtMs: number) => Promise<{ lost: string[]; sentAtMs: number }>;

function scene(leaseMs: number, renew: Renew, confirm = () => Promise.resolve(true)) {
  const definition = define('concurrent', 'one', [100_000]);
  const operations = {
    renew: (_: unknown, ids: readonly string[]) => renew(ids, performance.now()),
    confirm: async () => {
      const sentAtMs = performance.now();
      return { isHeld: await confirm(), sentAtMs };
    },
  } as unknown as Operations;
  const renewals = new Renewals(operations);
  const hold = (number: number, validMs = leaseMs): HeldLease => {
    const id = `o/${number}/${leaseMs}/0/1`;
    const terms = { leaseMs, waitMs: 0, cost: 1 };
    const validUntilMs = performance.now() + validMs;
    return new HeldLease(
      { id, definition, terms, counter: 'waited', takenAtMs: 0, validUntilMs },
      { operations, renewals, onEnd: () => {} },
    );
  };
  return { renewals, hold };
}

describe('renewals of leases', () => {
  it('of many go in calls that Redis can take', async () => {
    const calls: number[] = [];
    const { renewals, hold } = scene(4_500, async (ids, sentAtMs) => {
      calls.push(ids.length);
      return { lost: ids.filter((id) => id.startsWith('o/1234/')), sentAtMs };
    });
    const leases = Array.from({ length: 10_001 }, (_, at) => hold(at));
    const validUntilMs = Math.max(...leases.map((lease) => lease.validUntilMs));
    for (const lease of leases) renewals.add(lease);
    const areRenewed = () => leases.every((lease) => lease.isLost || lease.validUntilMs > validUntilMs);
    await until(areRenewed, 'all are renewed');
    assert.ok(Math.max(...calls) <= 500, `${calls}`);
    assert.deepEqual(
      leases.flatMap(({ isLost }, at) => (isLost ? [at] : [])),
      [1234],
    );
    for (const lease of renewals.leases) renewals.remove(lease);
  });

  it('of one that was granted for a moment come before that is over', async () => {
    const { renewals, hold } = scene(120_000, async (_, sentAtMs) => ({ lost: [], sentAtMs }));
    const lease = hold(1, 1_000);
    renewals.add(lease);
    const endsAtMs = performance.now() + 1_000;
    await until(() => lease.validUntilMs > endsAtMs, 'it is renewed');
    assert.ok(!lease.isLost);
    renewals.remove(lease);
  });

  it('that are not due yet, or failed, do not keep a lease beyond its end', async () => {
    const { renewals, hold } = scene(30_000, () => Promise.reject(new Error('gone')));
    const lease = hold(1, 300);
    renewals.add(lease);
    await until(() => lease.signal.aborted, 'it is lost');
    assert.match(String(lease.signal.reason), /it was not renewed in time|Redis did not answer/);
    assert.deepEqual(renewals.leases, []);
  });

  it('of one that has been confirmed are due at a third of its length', async () => {
    let renewed = 0;
    const { renewals, hold } = scene(6_000, async (_, sentAtMs) => {
      renewed += 1;
      return { lost: [], sentAtMs };
    });
    const lease = hold(1, 1_000);
    renewals.add(lease);
    assert.ok(await renewals.confirm(lease));
    const confirmedAtMs = performance.now();
    await until(() => renewed > 0, 'it is renewed');
    assert.ok(performance.now() - confirmedAtMs > 1_200, 'no sooner than need be');
    renewals.remove(lease);
  });
});
