import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { JobDurations } from '../dist/child/job-durations.js';
import { slowJobsReport } from '../dist/commands/slow-jobs.js';
import {
  addCounts,
  bucketOf,
  type DurationCounts,
  halve,
  MAX_BUCKET,
  quantileMs,
} from '../dist/duration-sketch.js';
import { UsualDurations } from '../dist/master/usual-durations.js';
import { MAX_JOB_KINDS, parseChildMessage, wrap } from '../dist/protocol.js';
import { decodeMaster } from '../dist/registry/decode.js';
import { type RegistrySnapshot, slowJobsOf } from '../dist/registry/reader.js';
import type { MasterRecord } from '../dist/registry/schema.js';

const DAY_MS = 86_400_000;
const durations = fc.array(fc.double({ min: 0.2, max: DAY_MS, noNaN: true }), { minLength: 1 });

function sketchOf(values: readonly number[]): DurationCounts {
  const counts: DurationCounts = new Map();
  addCounts(
    counts,
    values.map((value) => [bucketOf(value), 1]),
  );
  return counts;
}

describe('a sketch of durations', () => {
  it('knows each quantile within 5 %, and what rounding takes', () => {
    fc.assert(
      fc.property(durations, fc.double({ min: 0, max: 1, noNaN: true }), (values, part) => {
        const sorted = values.toSorted((a, b) => a - b);
        const exact = sorted[Math.max(1, Math.ceil(part * sorted.length)) - 1] as number;
        const roundingMs = exact < 90 ? 0.05 : 0.5;
        assert.ok(Math.abs(quantileMs(sketchOf(values), part) - exact) <= 0.05 * exact + roundingMs);
      }),
    );
  });

  it('adds up, in any order and however it was divided', () => {
    fc.assert(
      fc.property(durations, fc.nat(), (values, at) => {
        const cut = at % values.length;
        const sum = sketchOf(values.slice(cut));
        addCounts(sum, sketchOf(values.slice(0, cut)));
        assert.deepEqual(new Map([...sum].sort()), new Map([...sketchOf(values)].sort()));
      }),
    );
  });

  it('takes anything for a duration, and has room for no more than it has buckets', () => {
    for (const odd of [0, -1, Number.NaN, Number.NEGATIVE_INFINITY]) assert.equal(bucketOf(odd), 0);
    for (const long of [Number.POSITIVE_INFINITY, 1e300]) assert.equal(bucketOf(long), MAX_BUCKET);
    assert.equal(quantileMs(new Map(), 0.5), 0);
  });

  it('forgets by halves', () => {
    const counts: DurationCounts = new Map([
      [1, 5],
      [2, 1],
    ]);
    halve(counts);
    assert.deepEqual([...counts], [[1, 2]]);
  });
});

describe('durations of jobs', () => {
  it('go to the master as counts that its parser takes', () => {
    const own = new JobDurations();
    for (const ms of [0, 1, 1.01, 90, DAY_MS, 100 * DAY_MS]) own.add('mail', 'welcome', ms);
    own.add('mail', 'x'.repeat(10_000), 5);
    const kinds = own.take();
    assert.deepEqual(
      kinds.map(({ name, counts }) => [name.length, counts.reduce((sum, [, count]) => sum + count, 0)]),
      [
        [7, 6],
        [256, 1],
      ],
    );
    const carried: unknown = JSON.parse(JSON.stringify(wrap({ type: 'jobDurations', kinds })));
    assert.equal(parseChildMessage(carried).kind, 'message');
    assert.deepEqual(own.take(), []);
  });

  it('are refused where they are no counts', () => {
    const kindOf = (counts: unknown) => {
      return parseChildMessage({
        swarm: { type: 'jobDurations', kinds: [{ queue: 'q', name: 'n', counts }] },
      }).kind;
    };
    assert.equal(kindOf([[3, 1]]), 'message');
    const junk = [[[3]], [[-1, 1]], [[MAX_BUCKET + 1, 1]], [[1.5, 1]], [[1, 0]], [[1, Number.NaN]], [7], 'x'];
    for (const counts of junk) assert.equal(kindOf(counts), 'malformed', JSON.stringify(counts));
  });

  it('are of no more kinds than agreed, in the child and in the master', () => {
    const own = new JobDurations();
    for (let at = 0; at < 3 * MAX_JOB_KINDS; at++) own.add('q', `kind ${at}`, 5);
    const kinds = own.take();
    assert.equal(kinds.length, MAX_JOB_KINDS);
    const usual = new UsualDurations();
    usual.add(kinds);
    usual.add([{ queue: 'q', name: 'new', counts: [[bucketOf(7_000), 1]] }]);
    assert.equal(usual.records.length, MAX_JOB_KINDS);
    assert.equal(usual.records[0]?.name, 'new');
  });

  it('say what is usual now, not what was long ago', () => {
    const usual = new UsualDurations();
    const add = (ms: number, count: number) => {
      usual.add([{ queue: 'q', name: 'n', counts: [[bucketOf(ms), count]] }]);
    };
    add(100, 100_000);
    assert.equal(Math.round((usual.records[0]?.medianMs ?? 0) / 10), 10);
    for (let at = 0; at < 30; at++) add(1_000, 200);
    assert.equal(Math.round((usual.records[0]?.medianMs ?? 0) / 100), 10);
    assert.equal(usual.records[0]?.runs, 106_000);
  });
});

const NOW_MS = 1_000_000;

function master(identity: string, jobDurations: unknown, jobs: object[], beatAtMs = NOW_MS): MasterRecord {
  const child = { identity: `${identity}-child`, slot: 0, state: 'up', pid: 2, jobs };
  const hash = {
    info: JSON.stringify({ host: 'web1', pid: 1, tag: 'shop' }),
    state: 'up',
    beatAtMs: String(beatAtMs),
    jobDurations: JSON.stringify(jobDurations),
    'child:x': JSON.stringify(child),
  };
  return decodeMaster(identity, hash, NOW_MS).master as MasterRecord;
}

const usual = (name: string, medianMs: number, runs = 10) => ({
  queue: 'mail',
  name,
  runs,
  medianMs,
  p95Ms: medianMs,
});
const job = (id: string, name: string, agoMs: number) => ({
  queue: 'mail',
  id,
  name,
  startedAtMs: NOW_MS - agoMs,
});
const snapshotOf = (...masters: MasterRecord[]): RegistrySnapshot => {
  return { masters, redisTimeMs: NOW_MS, warnings: [] };
};

describe('swarm jobs --slow', () => {
  const kinds = [usual('report', 60_000), usual('welcome', 200)];

  it('shows what runs as multiples of what is usual, the largest first', () => {
    const jobs = [job('1', 'report', 90_000), job('2', 'welcome', 8_400), job('3', 'new', 600_000)];
    const reading = { snapshot: snapshotOf(master('web1:1:a', kinds, jobs)), url: 'redis://h' };
    assert.deepEqual(slowJobsReport(reading, 'default', 80).split('\n'), [
      'TIMES   SINCE  USUAL  QUEUE  ID  NAME     SLOT  PID  HOST',
      '  42×      8s  200ms  mail   2   welcome     0    2  web1',
      ' 1.5×  1m 30s     1m  mail   1   report      0    2  web1',
      '    -     10m      -  mail   3   new         0    2  web1',
    ]);
    const none = { snapshot: snapshotOf(master('web1:1:a', kinds, [])), url: 'redis://h' };
    assert.match(slowJobsReport(none, 'blue', 80), /^No job runs in namespace blue/);
  });

  it('asks the own master first, then the one that knows most, and none that is stale', () => {
    const jobs = [job('1', 'report', 60_000)];
    const [fast, slow] = [usual('report', 1_000, 5), usual('report', 30_000, 500)];
    const multiples = (...masters: MasterRecord[]) =>
      slowJobsOf(snapshotOf(...masters)).map(({ multiple }) => multiple);
    assert.deepEqual(multiples(master('a', [fast], jobs), master('b', [slow], [])), [60]);
    assert.deepEqual(multiples(master('a', [], jobs), master('b', [slow], []), master('c', [fast], [])), [2]);
    assert.deepEqual(multiples(master('a', [], jobs), master('b', [slow], [], 1_000)), [null]);
  });

  it('takes what a registry holds, and leaves out what is malformed', () => {
    const junk = [null, 7, { queue: 'mail' }, { queue: 'mail', name: 'report', runs: 3, medianMs: 'x' }];
    const [slow] = slowJobsOf(snapshotOf(master('a', junk, [job('1', 'report', -5_000)])));
    assert.deepEqual([slow?.usualMs, slow?.multiple], [null, null]);
    for (const wrong of [{}, 'x', null]) assert.deepEqual(master('a', wrong, []).jobDurations, []);
  });
});
