import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { JobMemory, type Run } from '../dist/child/job-memory.js';
import { JobLedger } from '../dist/master/job-ledger.js';
import { type JobGrowth, MAX_JOB_KINDS } from '../dist/protocol.js';

/** A process whose memory and clock are the test's. */
class Process {
  bytes = 1_000_000;
  nowMs = 1_000;
  looks = 0;
  readonly memory = new JobMemory(
    () => {
      this.looks += 1;
      return this.bytes;
    },
    () => this.nowMs,
  );

  begin(name: string, queue = 'q'): Run {
    return this.memory.begin(queue, name);
  }

  pass(ms: number, bytes = 0): void {
    this.nowMs += ms;
    this.bytes += bytes;
  }

  /** One job alone. */
  run(name: string, ms: number, bytes: number): void {
    const run = this.begin(name);
    this.pass(ms, bytes);
    this.memory.end(run);
  }

  take(): Record<string, Omit<JobGrowth, 'name' | 'queue'>> {
    return Object.fromEntries(
      this.memory.take().map(({ name, queue, approximate, runs, values }) => {
        return [`${queue}/${name}${approximate ? '~' : ''}`, { approximate, runs, values }];
      }),
    );
  }
}

const exact = (...values: number[]) => ({ approximate: false, runs: values.length, values });

describe('the memory that jobs leave behind', () => {
  it('is what each has left, as long as one runs at a time', () => {
    const child = new Process();
    child.bytes += 50_000;
    child.run('leaky', 100, 700);
    child.run('clean', 100, 0);
    child.run('leaky', 100, 900);
    assert.deepEqual(child.take(), { 'q/leaky': exact(700, 900), 'q/clean': exact(0) });
    assert.deepEqual(child.take(), {});
  });

  it('is not what was taken before the first job', () => {
    const child = new Process();
    child.pass(10_000, 99_000_000);
    child.run('first', 10, 5);
    assert.deepEqual(child.take(), { 'q/first': exact(5) });
  });

  it('is less when a collection gave some back', () => {
    const child = new Process();
    child.run('job', 100, 700);
    child.run('job', 100, -600);
    assert.deepEqual(child.take(), { 'q/job': exact(700, -600) });
  });

  it('is looked at after each job that takes its time; fast ones share a look', () => {
    const slow = new Process();
    for (let at = 0; at < 500; at += 1) slow.run('slow', 25, at);
    assert.equal(slow.looks, 1 + 500);

    const child = new Process();
    for (let at = 0; at < 20_000; at += 1) child.run('fast', 0.2, 10);
    const taken = child.take()['q/fast'];
    assert.equal(taken?.runs, 20_000);
    assert.ok(child.looks <= 2 + 1_000 / 20 + 4, `${child.looks} looks in 4 s, a first burst included`);
    const middle = taken.values.toSorted((a, b) => a - b)[Math.floor(taken.values.length / 2)];
    assert.equal(middle, 10, 'the mean of those that shared it');
  });

  it('is shared by time where jobs overlap, and marked', () => {
    const child = new Process();
    const long = child.begin('long');
    child.pass(100, 0);
    const short = child.begin('short');
    child.pass(100, 3_000);
    child.memory.end(short);
    child.pass(100, 500);
    child.memory.end(long);
    assert.deepEqual(child.take(), {
      'q/short~': { approximate: true, runs: 1, values: [1_000] },
      'q/long~': { approximate: true, runs: 1, values: [2_500] },
    });
    child.run('long', 100, 7);
    assert.deepEqual(child.take(), { 'q/long': exact(7) }, 'alone again');
  });

  it('is shared by the time since the last look, not by all the time that a job has run', () => {
    const child = new Process();
    const long = child.begin('long');
    child.pass(1_000);
    for (let at = 0; at < 2; at += 1) {
      const short = child.begin('short');
      child.pass(100, at * 2_000);
      child.memory.end(short);
    }
    child.memory.end(long);
    const shares = child.take();
    assert.deepEqual(shares['q/short~']?.values, [0, 1_000]);
    assert.deepEqual(shares['q/long~']?.values, [1_000]);
  });

  it('is marked where kinds mix between two looks, and not where it is one kind', () => {
    const child = new Process();
    for (let at = 0; at < 1_000; at += 1) child.run('warm', 0, 0);
    child.take();
    child.run('one', 1, 100);
    child.run('two', 1, 100);
    assert.deepEqual(Object.keys(child.take()), ['q/one~', 'q/two~']);
    child.run('one', 1, 100);
    child.run('one', 1, 300);
    assert.deepEqual(child.take(), { 'q/one': { approximate: false, runs: 2, values: [200] } });
  });

  it('of many kinds is told of the first hundred, and names are cut', () => {
    const child = new Process();
    for (let at = 0; at < 1_000; at += 1) child.run(`${at}${'x'.repeat(10_000)}`, 100, 1);
    const kinds = child.memory.take();
    assert.equal(kinds.length, MAX_JOB_KINDS);
    assert.ok(kinds.every(({ name }) => name.length === 256));
  });

  it('cannot be told where it cannot be read', () => {
    const memory = new JobMemory(
      () => null,
      () => 0,
    );
    memory.end(memory.begin('q', 'n'));
    assert.deepEqual(memory.take(), []);
  });

  it('adds up to what the process grew by, whatever runs beside whatever', () => {
    const step = fc.record({
      begin: fc.boolean(),
      at: fc.nat(9),
      ms: fc.nat(50),
      bytes: fc.integer({ min: -1e6, max: 1e6 }),
    });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 80 }), (steps) => {
        const child = new Process();
        const first = child.begin('first');
        const startBytes = child.bytes;
        const running = [first];
        for (const { begin, at, ms, bytes } of steps) {
          child.pass(ms, bytes);
          if (begin) running.push(child.begin(`kind${at % 3}`));
          const [run] = begin ? [] : running.splice(at % running.length, 1);
          if (run) child.memory.end(run);
          if (running.length === 0) running.push(child.begin('next'));
        }
        child.pass(5_000);
        for (const run of running) child.memory.end(run);
        let sum = 0;
        let runs = 0;
        for (const kind of child.memory.take()) {
          runs += kind.runs;
          if (kind.runs === kind.values.length) sum += kind.values.reduce((total, value) => total + value, 0);
          else return;
        }
        assert.ok(
          Math.abs(sum - (child.bytes - startBytes)) <= runs,
          `${sum} of ${child.bytes - startBytes}`,
        );
      }),
    );
  });
});

describe('the ledger of kinds', () => {
  const kind = (name: string, values: number[], approximate = false): JobGrowth => {
    return { queue: 'q', name, approximate, runs: values.length, values };
  };

  it('puts together what children say, and shows who leaves most first', () => {
    const ledger = new JobLedger();
    ledger.add([kind('clean', [0, 0, 4, 0, 0, 0]), kind('leaky', [90, 110, 100])]);
    ledger.add([kind('leaky', [100, 500])]);
    assert.deepEqual(ledger.records, [
      { queue: 'q', name: 'leaky', runs: 5, medianBytes: 100, p95Bytes: 500, approximate: false },
      { queue: 'q', name: 'clean', runs: 6, medianBytes: 0, p95Bytes: 4, approximate: false },
    ]);
  });

  it('takes approximate values only as long as there are too few exact ones', () => {
    const ledger = new JobLedger();
    ledger.add([kind('job', [1_000, 1_000, 1_000], true), kind('job', [1, 1, 1, 1])]);
    assert.deepEqual(ledger.records[0], { ...record('job', 7, 1, 1_000), approximate: true });
    ledger.add([kind('job', [1])]);
    assert.deepEqual(ledger.records[0], record('job', 8, 1, 1));
  });

  it('is bounded in kinds and values; those seen last stay', () => {
    const ledger = new JobLedger();
    ledger.add([kind('first', [7])]);
    for (let at = 0; at < 500; at += 1) {
      ledger.add([kind(`kind${at}`, [1]), kind('always', new Array(100).fill(at))]);
    }
    assert.equal(ledger.records.length, MAX_JOB_KINDS);
    assert.ok(!ledger.records.some(({ name }) => name === 'first'));
    assert.deepEqual(ledger.records[0], record('always', 50_000, 498, 499));
  });

  function record(name: string, runs: number, medianBytes: number, p95Bytes: number) {
    return { queue: 'q', name, runs, medianBytes, p95Bytes, approximate: false };
  }
});
