/** What is on record of a child whose master could not record its end. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { InheritedDeath, inheritedCause } from '../dist/master/inherited-death.js';
import type { ChildRecord, MasterRecord } from '../dist/registry/schema.js';

const LAST_BEAT_MS = 1_700_000_000_000;

function child(slot: number, more: Partial<ChildRecord> = {}): ChildRecord {
  const jobs = [{ queue: 'mail', id: String(slot), name: 'welcome', startedAtMs: LAST_BEAT_MS - 5_000 }];
  const pid = 100 + slot;
  const startedAtMs = LAST_BEAT_MS - 60_000;
  const known = {
    slot,
    pid,
    identity: `web1:${pid}:n`,
    group: 'default',
    generation: 2,
    rssBytes: 80e6,
    jobs,
  };
  return {
    ...known,
    state: 'up',
    startedAtMs,
    readyAtMs: 1,
    beatAtMs: null,
    lastDeath: null,
    ...more,
  } as ChildRecord;
}

function master(children: ChildRecord[], more: Partial<MasterRecord> = {}): MasterRecord {
  const info = { identity: 'web1:1:m', host: 'web1', tag: 'shop', node: '20.0.0' } as MasterRecord['info'];
  return {
    identity: info.identity,
    info,
    beatAtMs: LAST_BEAT_MS,
    children,
    owed: [],
    ...more,
  } as MasterRecord;
}

describe('an inherited death', () => {
  it('is that of each child that lived, and of those whose record still waited', () => {
    const atMs = LAST_BEAT_MS - 1_000;
    const died = (slot: number, state: ChildRecord['state']): ChildRecord => {
      const { identity, pid } = child(slot);
      const lastDeath = { atMs, identity, pid, code: null, signal: 'SIGSEGV', cause: 'signal' } as const;
      return child(slot, { state, lastDeath });
    };
    const children = [child(0), child(1, { state: 'stopping' }), died(2, 'backoff'), died(3, 'failed')];
    const left = master(children, { owed: [{ owner: 'web1:102:n', holdings: [] }] });
    const causes = children.map(({ identity }) => inheritedCause(left, identity, 'host-lost'));
    assert.deepEqual(causes, ['host-lost', 'host-lost', 'signal', null]);
    assert.equal(inheritedCause(left, 'nobody', 'host-lost'), null);
    const { signal, atMs: diedAtMs } = new InheritedDeath(
      left,
      children[2] as ChildRecord,
      'signal',
    ).record();
    assert.deepEqual([signal, diedAtMs], ['SIGSEGV', atMs]);
  });

  it('tells what the entry told, what became of the jobs, and what is not known', () => {
    const held = child(0, {
      jobs: [...child(0).jobs, ...child(1).jobs, { ...child(2).jobs[0], queue: 'other' } as never],
    });
    const death = new InheritedDeath(master([held]), held, 'master-died');
    death.jobs.released([{ queue: 'mail', id: '0', name: '', outcome: 'released', blame: null }], ['other']);
    const record = death.record();
    const { atMs, master: by, host, slot, generation, uptimeMs, rssBytes, jobs, evidence } = record;
    assert.deepEqual([atMs, by, host, slot, generation], [LAST_BEAT_MS, 'web1:1:m', 'web1', 0, 2]);
    assert.deepEqual([uptimeMs, rssBytes], [60_000, 80e6]);
    assert.deepEqual(
      jobs.map(({ name, outcome }) => [name, outcome]),
      [
        ['welcome', 'released'],
        ['welcome', 'finished'],
        ['welcome', 'pending'],
      ],
    );
    assert.match(evidence.summary, /not known/);
  });
});
