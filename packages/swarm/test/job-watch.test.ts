import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { DumpRecord } from '../dist/dump.js';
import { noticeOf } from '../dist/master/death-notice.js';
import { JobTimeouts } from '../dist/master/job-timeouts.js';
import type { Narrator } from '../dist/master/narrator.js';
import type { ChildHandle } from '../dist/process/child-handle.js';
import type { ActiveJob, JobRef, MasterMessage } from '../dist/protocol.js';
import type { SupervisorEvent } from '../dist/supervisor/events.js';

type Action = 'dump' | 'abort' | 'kill';
const NOW_MS = 1_700_000_000_000;

/** A master's watch over one child, with clocks of its own. */
function scene(t: TestContext, { timeoutMs = 30_000 as number | null, action = 'kill' as Action } = {}) {
  const clock = { wallMs: NOW_MS, monotonicMs: 5_000, isAtBreakpoint: false };
  t.mock.method(Date, 'now', () => clock.wallMs);
  t.mock.method(performance, 'now', () => clock.monotonicMs);
  const events: SupervisorEvent[] = [];
  const dumps: JobRef[] = [];
  const sent: MasterMessage[] = [];
  const child = {
    ...{ slot: 0, identity: 'a', exit: null, concurrency: 5 },
    beat: { busy: 1 },
    jobs: [] as ActiveJob[],
    waiting: [] as JobRef[],
    jobTimeouts: new Map<string, number | null>(),
    send: (message: MasterMessage) => sent.push(message),
  };
  const handle = child as unknown as ChildHandle;
  const watch = new JobTimeouts({
    config: { jobTimeoutMs: timeoutMs, jobTimeoutAction: action },
    narrator: { jobOverdue: () => {}, jobAct: () => {} } as unknown as Narrator,
    children: () => [handle],
    isAtBreakpoint: () => clock.isAtBreakpoint,
    dump: async (_, about) => {
      dumps.push(about);
      const jobs = child.jobs.map((job) => ({ ...job, attempt: 1 }));
      return { kind: 'job', jobs, job: jobs[0], io: [], processes: [], stack: [] } as unknown as DumpRecord;
    },
    ask: (event) => events.push(event),
  });
  return {
    clock,
    child,
    watch,
    events,
    dumps,
    sent,
    /** A look each second, with a beat before it. */
    pass: async (seconds: number): Promise<void> => {
      for (let second = 0; second < seconds; second++) {
        clock.wallMs += 1_000;
        clock.monotonicMs += 1_000;
        child.beat = { ...child.beat };
        watch.look();
        await turn();
      }
    },
    look: async (): Promise<void> => {
      watch.look();
      await turn();
    },
  };
}

const job = (id: string, startedAtMs = NOW_MS, queue = 'mail'): ActiveJob => ({
  queue,
  id,
  name: 'job',
  startedAtMs,
});
const givenUp = (events: readonly SupervisorEvent[]) => [
  ...new Set(events.flatMap((event) => (event.type === 'jobGivenUp' ? [event.job.id] : []))),
];

describe('the watch over jobs', () => {
  it('gives a job up at its timeout, and says so until it is gone', async (t) => {
    const { child, events, dumps, watch, pass } = scene(t);
    child.jobs = [job('1')];
    await pass(28);
    assert.deepEqual([dumps, events], [[], []]);
    await pass(6);
    assert.deepEqual(dumps, [{ queue: 'mail', id: '1' }]);
    assert.ok(events.length >= 3);
    assert.match(
      watch.givenUpBy('a')[0]?.reason ?? '',
      /^job timeout: it had not ended after 3\d(\.\d)? s \(its limit: 30 s\); /,
    );
    child.jobs = [];
    await pass(1);
    assert.deepEqual(watch.givenUpBy('a'), []);
  });

  it('goes by no wall clock, in the child or here', async (t) => {
    const { clock, child, dumps, events, pass } = scene(t);
    child.jobs = [job('old', NOW_MS - 3_600_000), job('future', NOW_MS + 3_600_000)];
    await pass(5);
    clock.wallMs += 3_600_000;
    await pass(5);
    clock.wallMs -= 7_200_000;
    child.jobs = [...child.jobs, job('new', clock.wallMs - 1_000_000)];
    await pass(15);
    assert.deepEqual([dumps, events], [[], []]);
  });

  it('counts no time in which the master itself did not run', async (t) => {
    const { clock, child, dumps, pass } = scene(t);
    child.jobs = [job('1')];
    await pass(20);
    clock.monotonicMs += 60_000;
    clock.wallMs += 60_000;
    await pass(5);
    assert.deepEqual(dumps, []);
    await pass(8);
    assert.equal(dumps.length, 1);
  });

  it('counts no time at a breakpoint', async (t) => {
    const { clock, child, dumps, pass } = scene(t);
    child.jobs = [job('1')];
    await pass(20);
    clock.isAtBreakpoint = true;
    await pass(600);
    assert.deepEqual(dumps, []);
    clock.isAtBreakpoint = false;
    await pass(15);
    assert.equal(dumps.length, 1);
  });

  it('counts a job from the last beat without it, where a blocked loop let no beat tell of it', async (t) => {
    const { clock, child, dumps, look } = scene(t);
    await look();
    clock.monotonicMs += 3_000;
    await look();
    // its watchdog has seen it after a block of 20 s: it began right after the beat
    for (let second = 0; second < 17; second++) {
      clock.monotonicMs += 1_000;
      await look();
    }
    clock.wallMs += 20_000;
    child.jobs = [job('1', NOW_MS)];
    for (let second = 0; second < 9; second++) {
      clock.monotonicMs += 1_000;
      clock.wallMs += 1_000;
      await look();
      assert.deepEqual(dumps, []);
    }
    for (let second = 0; second < 3; second++) {
      clock.monotonicMs += 1_000;
      await look();
    }
    assert.equal(dumps.length, 1);
  });

  it("holds a queue's own limit above the common one, and jobs that wait for their turn to none", async (t) => {
    const { child, pass, events } = scene(t);
    child.jobTimeouts.set('slow', null).set('fast', 5_000);
    child.jobs = [job('1', NOW_MS, 'slow'), job('2', NOW_MS, 'fast'), job('3'), job('4')];
    child.waiting = [{ queue: 'mail', id: '4' }];
    await pass(8);
    assert.deepEqual(givenUp(events), ['2']);
    await pass(60);
    assert.deepEqual(givenUp(events), ['2', '3']);
    child.waiting = [];
    await pass(25);
    assert.deepEqual(givenUp(events), ['2', '3']);
    await pass(10);
    assert.deepEqual(givenUp(events), ['2', '3', '4']);
  });

  it('tells a job to abort, and gives it up if it has not settled soon', async (t) => {
    const { child, sent, events, pass } = scene(t, { action: 'abort' });
    child.jobs = [job('1')];
    await pass(33);
    assert.deepEqual(
      sent.map((message) => message.type === 'abortJob' && message.job.id),
      ['1'],
    );
    assert.deepEqual(events, []);
    await pass(5);
    assert.deepEqual(givenUp(events), ['1']);
    assert.equal(sent.length, 1);
  });

  it('takes one dump for jobs of a child that are past their time soon after each other', async (t) => {
    const { clock, child, dumps, watch, pass } = scene(t);
    child.jobs = [job('1')];
    await pass(2);
    child.jobs = [...child.jobs, job('2', clock.wallMs)];
    await pass(34);
    assert.deepEqual(dumps, [{ queue: 'mail', id: '1' }]);
    assert.equal(watch.givenUpBy('a').length, 2);
  });

  it('sees that a child is alone with what was given up', async (t) => {
    const { child, events, pass } = scene(t);
    child.jobs = [job('1')];
    child.beat = { busy: 1 };
    await pass(33);
    const isAlone = () =>
      events.at(-1)?.type === 'jobGivenUp' && (events.at(-1) as { isAlone: boolean }).isAlone;
    assert.equal(isAlone(), false, 'it has room for another');
    child.concurrency = 1;
    await pass(1);
    assert.equal(isAlone(), true);
    child.beat = { busy: 2 };
    child.concurrency = 2;
    await pass(1);
    assert.equal(isAlone(), false, 'it has another');
  });

  it('costs nothing where there is no limit', async (t) => {
    const { child, pass, dumps } = scene(t, { timeoutMs: null });
    child.jobs = [job('1', NOW_MS - 1_000_000)];
    await pass(100);
    assert.deepEqual(dumps, []);
  });
});

describe('the notice of a death', () => {
  const dead = { identity: 'a', exit: null, waiting: [], drained: null, uncaught: null };
  const told = [1, 2].map((n) => ({ queue: 'q', id: String(n), startedAtMs: n, reason: 'too long' }));

  it('names the jobs that were given up, as far as the child had them at its end', () => {
    assert.deepEqual(noticeOf(dead, 'job-timeout', 1, null, told).givenUp, told);
    const drained = {
      type: 'drained',
      handedBack: [],
      error: null,
      left: [{ queue: 'q', id: '2' }],
    } as const;
    const notice = noticeOf(
      { ...dead, drained: { ...drained, handedBack: [], left: [...drained.left] } },
      'job-timeout',
      1,
      null,
      told,
    );
    assert.deepEqual(notice.givenUp, told.slice(1));
    assert.equal('givenUp' in noticeOf(dead, 'signal', 1), false);
  });
});
