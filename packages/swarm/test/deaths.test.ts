/** What a master makes of the end of a child, with a stream that fails when it is told to. */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { DeathRecord } from '../dist/death.js';
import type { LogFields } from '../dist/log.js';
import type { Deceased } from '../dist/master/death-file.js';
import { Deaths } from '../dist/master/deaths.js';
import { LastLines } from '../dist/process/output.js';
import type { ActiveJob, ReleasedJob } from '../dist/protocol.js';
import type { MasterInfo } from '../dist/registry/schema.js';

const INFO = { identity: 'web1:1:aa', host: 'web1', tag: 'shop', node: '20.0.0' } as MasterInfo;
const TOLD = { killedFor: null, leavesFor: null };
/** No process has it. */
const NO_PID = 2 ** 30;

const job = (id: string): ActiveJob => ({ queue: 'mail', id, name: `n${id}`, startedAtMs: 1_000 });

function deceased(more: Partial<Deceased> = {}): Deceased {
  return {
    identity: `web1:${NO_PID}:bb`,
    pid: NO_PID,
    slot: 2,
    group: 'default',
    generation: 1,
    startedAtMs: Date.now() - 5_000,
    readyAtMs: Date.now() - 4_000,
    exit: { code: 3, signal: null },
    drained: null,
    uncaught: null,
    bootTrouble: null,
    heapOom: null,
    beat: null,
    jobs: [],
    stderr: new LastLines(),
    addons: [],
    ...more,
  };
}

/** Time passes only when a test says so. */
function setUp(t: TestContext, clockOffsetMs = 0) {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const pass = async (ms: number): Promise<void> => {
    t.mock.timers.tick(ms);
    await new Promise((resolve) => setImmediate(resolve));
  };
  const written: DeathRecord[] = [];
  const said: { message: string; fields: LogFields | undefined }[] = [];
  const redis = { isAway: false };
  const say = (message: string, fields?: LogFields): void => void said.push({ message, fields });
  const deaths = new Deaths({
    info: INFO,
    log: { debug() {}, info: say, warn: say, error: say, childOutput() {} },
    stream: {
      async add(record) {
        if (redis.isAway) throw new Error('gone');
        written.push(record);
      },
    },
    clockOffsetMs: () => clockOffsetMs,
  });
  t.after(() => deaths.close(0));
  const release = (
    owner: string,
    jobs: ReleasedJob[],
    more: { unserved?: string[]; error?: string } = {},
  ): void => {
    const { unserved = [], error = null } = more;
    deaths.released({ type: 'released', releaseId: owner, jobs, unserved, error });
  };
  return { deaths, written, said, redis, release, pass };
}

const sample = { rssBytes: 600e6, pssBytes: 500e6, cpuPercent: null };

describe('the record of a death', () => {
  it('waits for the release, and knows what became of each job', async (t) => {
    const { deaths, written, release, pass } = setUp(t, 250);
    const child = deceased({ jobs: [job('1'), job('2')], addons: ['a.node'] });
    child.stderr.push('connecting to redis://me:secret@db');
    deaths.born(child);
    const { cause, rssBytes } = deaths.died(child, TOLD, { sample, owes: true });
    assert.deepEqual([cause, rssBytes], ['exit', 600e6]);
    await pass(5_000);
    assert.equal(written.length, 0);
    child.stderr.push('its last words, read late');
    release(child.identity, [], { error: 'Redis is away' });
    await pass(1);
    assert.equal(written.length, 0);
    release(child.identity, [
      { queue: 'mail', id: '1', name: 'n1', outcome: 'quarantined', blame: { exact: 3, shared: 0 } },
      { queue: 'mail', id: '3', name: 'n3', outcome: 'released', blame: null },
    ]);
    await pass(1);
    assert.equal(written.length, 1);
    const record = written[0] as DeathRecord;
    assert.deepEqual(
      record.jobs.map(({ id, name, startedAtMs, outcome, blame }) => [id, name, startedAtMs, outcome, blame]),
      [
        ['1', 'n1', 1_250, 'quarantined', { exact: 3, shared: 0 }],
        ['2', 'n2', 1_250, 'finished', null],
        ['3', 'n3', null, 'released', null],
      ],
    );
    assert.deepEqual(record.stderr, ['connecting to redis://me:***@db', 'its last words, read late']);
    const { slot, host, master, tag, node, code, addons, uptimeMs } = record;
    assert.deepEqual(
      { slot, host, master, tag, node, code, addons },
      {
        slot: 2,
        host: 'web1',
        master: 'web1:1:aa',
        tag: 'shop',
        node: '20.0.0',
        code: 3,
        addons: ['a.node'],
      },
    );
    assert.ok(uptimeMs >= 5_000 && uptimeMs < 10_000);
    // a second sweep finds nothing to add
    release(child.identity, []);
    await pass(20_000);
    assert.equal(written.length, 1);
  });

  it('knows what a releaser did that died over it, or was overtaken', async (t) => {
    const { deaths, written, release, pass } = setUp(t);
    const child = deceased({ jobs: [job('1'), job('2')] });
    deaths.died(child, TOLD, { sample: undefined, owes: true });
    const found = (id: string, outcome: ReleasedJob['outcome']): ReleasedJob => {
      return { queue: 'mail', id, name: `n${id}`, outcome, blame: { exact: 1, shared: 0 } };
    };
    const releasing = (jobs: ReleasedJob[]) =>
      deaths.releasing({ type: 'releasing', releaseId: child.identity, jobs });
    releasing([
      found('1', 'quarantined'),
      found('3', 'released'),
      found('4', 'released'),
      found('5', 'released'),
    ]);
    // the next finds one of them still there, another is moved under its hands, and one ends under its hands alone
    releasing([found('4', 'released'), found('5', 'released'), found('6', 'released')]);
    release(child.identity, [found('4', 'released'), found('5', 'finished'), found('6', 'finished')]);
    await pass(300);
    assert.deepEqual(
      written[0]?.jobs.map(({ id, outcome }) => [id, outcome]),
      [
        ['1', 'quarantined'],
        ['2', 'finished'],
        ['3', 'released'],
        ['4', 'released'],
        ['5', 'released'],
        ['6', 'finished'],
      ],
    );
    assert.deepEqual(written[0]?.jobs[2]?.blame, { exact: 1, shared: 0 });
  });

  it('waits for the last of its stderr, but for a release no longer than 20 s', async (t) => {
    const { deaths, written, release, pass } = setUp(t);
    const [quick, slow] = [deceased(), deceased({ identity: 'slow', jobs: [job('1')] })];
    for (const child of [quick, slow]) deaths.died(child, TOLD, { sample: undefined, owes: true });
    release(quick.identity, []);
    await pass(100);
    assert.equal(written.length, 0);
    await pass(200);
    assert.deepEqual(
      written.map(({ identity }) => identity),
      [quick.identity],
    );
    await pass(19_600);
    assert.equal(written.length, 1);
    await pass(200);
    assert.deepEqual([written[1]?.identity, written[1]?.jobs[0]?.outcome], ['slow', 'pending']);
  });

  it('waits for who can look for it, and leaves open what nobody could look for', async (t) => {
    const { deaths, written, release, pass } = setUp(t);
    const child = deceased({ jobs: [job('1'), { ...job('2'), queue: 'other' }] });
    deaths.died(child, TOLD, { sample: undefined, owes: true });
    release(child.identity, [], { unserved: ['other'] });
    await pass(19_000);
    assert.equal(written.length, 0, 'somebody else may');
    await pass(2_000);
    assert.deepEqual(
      written[0]?.jobs.map(({ id, outcome }) => [id, outcome]),
      [
        ['1', 'finished'],
        ['2', 'pending'],
      ],
    );
  });

  it('has what the releaser says of a job', async (t) => {
    const { deaths, written, release, pass } = setUp(t);
    const child = deceased({ jobs: [job('1')] });
    deaths.died(child, TOLD, { sample: undefined, owes: true });
    const blame = { exact: 3, shared: 0 };
    const told = [
      { queue: 'mail', id: '1', name: 'n1', outcome: 'quarantined', blame },
      { queue: 'mail', id: '9', name: 'late', outcome: 'released', blame: { exact: 1, shared: 0 } },
    ];
    release(child.identity, told as unknown as ReleasedJob[]);
    await pass(300);
    assert.deepEqual(written[0]?.jobs, [
      { ...job('1'), outcome: 'quarantined', blame },
      { ...job('9'), name: 'late', startedAtMs: null, outcome: 'released', blame: { exact: 1, shared: 0 } },
    ]);
  });

  it('is written at the end of the master, whatever is known', async (t) => {
    const { deaths, written } = setUp(t);
    deaths.died(deceased({ jobs: [job('1')] }), TOLD, { sample: undefined, owes: true });
    await deaths.close(1_000);
    assert.deepEqual(
      written.map(({ jobs }) => jobs[0]?.outcome),
      ['pending'],
    );
  });

  it('of a child that left as told has what it handed back, and no more', async (t) => {
    const { deaths, written, pass } = setUp(t);
    const drained: Deceased['drained'] = { type: 'drained', handedBack: [job('7')], error: null };
    const child = deceased({ exit: { code: 0, signal: null }, drained, jobs: [job('7'), job('8')] });
    const { cause } = deaths.died(child, { killedFor: null, leavesFor: 'roll' }, { sample, owes: false });
    assert.equal(cause, 'rolled');
    await pass(300);
    assert.equal(written.length, 1);
    assert.deepEqual(
      written[0]?.jobs.map(({ id, outcome }) => [id, outcome]),
      [['7', 'handed-back']],
    );
  });

  it('hides secrets and bounds what the app says', async (t) => {
    const { deaths, written, pass } = setUp(t);
    const message = `cannot reach redis://me:secret@db ${'x'.repeat(50_000)}`;
    const uncaught = { type: 'uncaught', phase: 'run', message, stack: `Error: ${message}` } as const;
    const names = Array.from({ length: 300 }, (_, at) => ({ ...job(String(at)), name: 'y'.repeat(1_000) }));
    deaths.died(deceased({ exit: { code: 1, signal: null }, uncaught, jobs: names }), TOLD, {
      sample,
      owes: false,
    });
    await pass(300);
    assert.equal(written.length, 1);
    const text = JSON.stringify(written);
    assert.ok(!text.includes('secret'));
    assert.ok(text.length < 80_000, `${text.length} characters`);
  });

  it('waits for Redis, in order, and says so when it is given up', async (t) => {
    const { deaths, written, redis, said, pass } = setUp(t);
    redis.isAway = true;
    for (let at = 0; at < 600; at++) {
      deaths.died(deceased({ identity: `web1:1:${at}` }), TOLD, { sample: undefined, owes: false });
    }
    await pass(400);
    assert.equal(written.length, 0);
    redis.isAway = false;
    deaths.look([], new Map());
    await pass(1);
    assert.deepEqual(
      written.map(({ identity }) => identity),
      Array.from({ length: 500 }, (_, at) => `web1:1:${at + 100}`),
    );
    assert.match(said[0]?.message ?? '', /^death records wait/);
    assert.deepEqual(
      said.slice(1).map(({ fields }) => fields),
      [{ count: 100 }],
    );
  });

  it('that Redis never took is told at the end', async (t) => {
    const { deaths, redis, said } = setUp(t);
    redis.isAway = true;
    deaths.died(deceased(), TOLD, { sample: undefined, owes: false });
    await deaths.close(500);
    assert.match(said.at(-1)?.message ?? '', /^death records are lost/);
  });

  it('shows the memory of the last minute', async (t) => {
    const { deaths, written, pass } = setUp(t);
    const child = deceased();
    deaths.born(child);
    for (const rssBytes of [1e6, 2e6, 3e6]) {
      deaths.look([child], new Map([[child.pid, { rssBytes, pssBytes: null, cpuPercent: null }]]));
    }
    deaths.died(child, TOLD, { sample, owes: false });
    await pass(300);
    assert.equal(written.length, 1);
    const memory = written[0]?.memory ?? [];
    assert.deepEqual(memory.at(-1)?.slice(1), [3e6, null, null]);
    assert.deepEqual(memory[0]?.slice(1), [1e6, null, null]);
  });
});
