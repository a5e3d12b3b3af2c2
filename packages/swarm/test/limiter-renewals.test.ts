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
    const { renewals, hold } = scene(1_500, async (ids, sentAtMs) => {
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
});
