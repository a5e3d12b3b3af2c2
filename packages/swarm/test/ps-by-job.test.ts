import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { byJobReport } from '../dist/commands/ps-by-job.js';
import { decodeMaster } from '../dist/registry/decode.js';
import { jobMemoryOf, type RegistrySnapshot } from '../dist/registry/reader.js';
import type { JobMemoryRecord, MasterRecord } from '../dist/registry/schema.js';

const kind = (name: string, medianBytes: number, p95Bytes: number, approximate = false): JobMemoryRecord => {
  return { queue: 'mail', name, runs: 1_200, medianBytes, p95Bytes, approximate };
};

function master(identity: string, jobMemory: unknown, beatAtMs = 100_000): MasterRecord {
  const hash = {
    info: JSON.stringify({ host: 'web1', pid: 1, tag: 'shop' }),
    state: 'up',
    beatAtMs: String(beatAtMs),
    jobMemory: JSON.stringify(jobMemory),
  };
  return decodeMaster(identity, hash, 100_000).master as MasterRecord;
}

const snapshotOf = (...masters: MasterRecord[]): RegistrySnapshot => ({
  masters,
  redisTimeMs: 100_000,
  warnings: [],
});
const report = (...masters: MasterRecord[]) => {
  return byJobReport({ snapshot: snapshotOf(...masters), url: 'redis://h' }, 'default', 80);
};

describe('swarm ps --by-job', () => {
  it('shows what each kind of job leaves behind, those that leave most first', () => {
    const kinds = [
      kind('clean', 8_400, -3_200_000),
      kind('leaky', 10_300_000, 612e6, true),
      kind('odd', -300, 0),
    ];
    assert.deepEqual(report(master('web1:1:a', kinds)).split('\n'), [
      'NAME   QUEUE  RUNS  MEDIAN     P95  APPROX',
      'leaky  mail   1200    10MB   612MB  yes',
      'clean  mail   1200     8KB  -3.2MB  no',
      'odd    mail   1200     0KB     0KB  no',
    ]);
  });

  it('names the master where there are several, and leaves stale ones out', () => {
    const [one, other] = [
      master('web1:1:a', [kind('a', 5e6, 5e6)]),
      master('web2:1:b', [kind('b', 9e6, 9e6)]),
    ];
    const stale = master('web3:1:c', [kind('c', 7e6, 7e6)], 1_000);
    assert.deepEqual(report(one, other, stale).split('\n'), [
      'NAME  QUEUE  RUNS  MEDIAN  P95  APPROX  MASTER',
      'b     mail   1200     9MB  9MB  no      web2:1:b',
      'a     mail   1200     5MB  5MB  no      web1:1:a',
    ]);
  });

  it('says so when there is nothing yet', () => {
    assert.match(report(master('web1:1:a', [])), /^No job has ended yet/);
  });

  it('reads what a registry holds, and leaves out what is malformed', () => {
    const junk = [null, 7, { queue: 'q' }, { queue: 'q', name: 'n', runs: -1, medianBytes: 'x' }];
    assert.deepEqual(jobMemoryOf(snapshotOf(master('web1:1:a', junk))), [
      {
        ...{ queue: 'q', name: 'n', runs: 0, medianBytes: 0, p95Bytes: 0, approximate: false },
        ...{ host: 'web1', master: 'web1:1:a', tag: 'shop' },
      },
    ]);
    for (const wrong of [{}, 'x', null]) assert.deepEqual(master('web1:1:a', wrong).jobMemory, []);
  });
});
