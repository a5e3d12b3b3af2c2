/** What a service manager is told, and when: with a clock of the test's own. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type ServiceFacts, serviceFacts } from '../dist/platform/service-facts.js';
import { takeServiceSettings } from '../dist/platform/service-manager.js';
import {
  NOTHING_TOLD,
  type Notice,
  nextNotice,
  type ServiceMemory,
} from '../dist/platform/service-notices.js';
import { NoticeSender } from '../dist/platform/systemd-notify.js';
import type { ChildRecord } from '../dist/registry/schema.js';
import { DEFAULT_POLICY, initialState, type Slot, type SupervisorState } from '../dist/supervisor/state.js';

const FACTS: ServiceFacts = {
  phase: 'running',
  isRolling: false,
  isReady: true,
  canProgress: true,
  headline: '2/2 up',
  figures: ', 0 busy',
};

/** Told once a second what is so, for so long. */
class Manager {
  told: ServiceMemory = NOTHING_TOLD;
  nowMs = 1_000;
  readonly notices: Notice[] = [];

  constructor(readonly watchdogMs: number | null = null) {}

  look(facts: Partial<ServiceFacts> = {}): Notice | null {
    const { told, notice } = nextNotice(this.told, { ...FACTS, ...facts }, this.nowMs, this.watchdogMs);
    this.told = told;
    if (notice) this.notices.push(notice);
    return notice;
  }

  seconds(count: number, facts: Partial<ServiceFacts> = {}): Notice[] {
    const before = this.notices.length;
    for (let at = 0; at < count; at += 1) {
      this.nowMs += 1_000;
      this.look(facts);
    }
    return this.notices.slice(before);
  }

  said(name: string): number {
    return this.notices.filter((notice) => name in notice).length;
  }
}

describe('notices to a service manager', () => {
  it('says READY once, when each group has a child that is ready', () => {
    const manager = new Manager();
    manager.seconds(30, { isReady: false });
    assert.equal(manager.said('READY'), 0);
    manager.look();
    manager.seconds(30, { isReady: false });
    manager.seconds(30);
    assert.equal(manager.said('READY'), 1);
  });

  it('asks for more time while it boots, and only while there is progress', () => {
    const manager = new Manager();
    manager.seconds(20, { isReady: false });
    assert.ok(manager.said('EXTEND_TIMEOUT_USEC') >= 4);
    const { length } = manager.notices;
    manager.seconds(60, { isReady: false, canProgress: false });
    assert.equal(manager.notices.length, length);
  });

  it('says RELOADING for a roll, with the time, and READY at its end', () => {
    const manager = new Manager();
    manager.look();
    const [reloading] = manager.seconds(1, { isRolling: true });
    assert.equal(reloading?.['RELOADING'], '1');
    assert.equal(reloading?.['MONOTONIC_USEC'], '2000000');
    assert.ok(manager.seconds(30, { isRolling: true }).every((notice) => !('RELOADING' in notice)));
    assert.equal(manager.seconds(1)[0]?.['READY'], '1');
    assert.equal(manager.seconds(1, { isRolling: true })[0]?.['RELOADING'], '1');
  });

  it('says STOPPING once, asks for time at once and then again and again', () => {
    const manager = new Manager();
    manager.look({ isReady: false });
    const first = manager.look({ phase: 'stopping' });
    assert.deepEqual(
      { STOPPING: first?.['STOPPING'], EXTEND_TIMEOUT_USEC: first?.['EXTEND_TIMEOUT_USEC'] },
      { STOPPING: '1', EXTEND_TIMEOUT_USEC: '15000000' },
    );
    manager.seconds(60, { phase: 'stopping' });
    assert.equal(manager.said('STOPPING'), 1);
    assert.ok(manager.said('EXTEND_TIMEOUT_USEC') >= 12);
  });

  it('stops a roll without saying READY', () => {
    const manager = new Manager();
    manager.look();
    manager.seconds(1, { isRolling: true });
    manager.seconds(10, { phase: 'stopping' });
    assert.equal(manager.said('READY'), 1);
    assert.equal(manager.said('STOPPING'), 1);
  });

  it('tells a changed headline at once, figures every 10 s', () => {
    const manager = new Manager();
    manager.look();
    let busy = 0;
    for (let at = 0; at < 30; at += 1) manager.seconds(1, { figures: `, ${++busy} busy` });
    assert.equal(manager.said('STATUS'), 4);
    assert.equal(manager.seconds(1, { headline: '1/2 up' })[0]?.['STATUS'], '1/2 up, 0 busy');
  });

  it('is silent when nothing changes and nobody waits', () => {
    const manager = new Manager();
    manager.look();
    assert.deepEqual(manager.seconds(3_600), []);
  });

  it('feeds the watchdog several times a period, and never without progress', () => {
    const progress = fc.array(
      fc.record({ canProgress: fc.boolean(), seconds: fc.integer({ min: 1, max: 200 }) }),
    );
    fc.assert(
      fc.property(progress, fc.integer({ min: 3, max: 600 }), (phases, periodSeconds) => {
        const manager = new Manager(periodSeconds * 1_000);
        manager.look();
        let fedAtMs = manager.nowMs;
        for (const { canProgress, seconds } of phases) {
          for (let at = 0; at < seconds; at += 1) {
            const [notice] = manager.seconds(1, { canProgress });
            const isFed = notice !== undefined && 'WATCHDOG' in notice;
            assert.ok(!isFed || canProgress);
            if (isFed) fedAtMs = manager.nowMs;
            if (canProgress) assert.ok(manager.nowMs - fedAtMs <= (periodSeconds * 1_000) / 3 + 1_000);
          }
        }
      }),
      { numRuns: 50 },
    );
  });

  it('knows no watchdog where there is none', () => {
    const manager = new Manager(null);
    manager.look();
    manager.seconds(300);
    assert.equal(manager.said('WATCHDOG'), 0);
  });
});

const NOW_MS = 1_700_000_000_000;

function table(...slots: Partial<Slot>[]): SupervisorState {
  const state = initialState([{ name: 'default', count: slots.length }], DEFAULT_POLICY, 0);
  return { ...state, slots: state.slots.map((slot, index) => ({ ...slot, ...slots[index] })) };
}

function seat(state: Slot['state'], identity: string, killedFor: 'stuck' | null = null): Partial<Slot> {
  const child = {
    identity,
    pid: 1,
    generation: 0,
    spawnedAtMs: 0,
    readyAtMs: 0,
    canRelease: true,
    killedFor,
    leavesFor: null,
    givenUp: [],
  };
  return { state, child };
}

function record(identity: string, beatAgoMs: number, more: Partial<ChildRecord> = {}): ChildRecord {
  const beatAtMs = NOW_MS - beatAgoMs;
  return {
    identity,
    state: 'up',
    beatAtMs,
    readyAtMs: beatAtMs,
    busy: 0,
    pssBytes: null,
    rssBytes: null,
    ...more,
  } as ChildRecord;
}

describe('what a service manager is told of a master', () => {
  const facts = (state: SupervisorState, ...children: ChildRecord[]) => serviceFacts(state, children, NOW_MS);

  it('progress: one child that turns is enough, none is not', () => {
    const both = table(seat('up', 'a'), seat('up', 'b'));
    assert.ok(facts(both, record('a', 60_000), record('b', 500)).canProgress);
    assert.ok(!facts(both, record('a', 60_000), record('b', 60_000)).canProgress);
  });

  it('progress: a slot in its backoff, a boot and a stop end by themselves', () => {
    for (const state of ['backoff', 'starting', 'stopping'] as const) {
      assert.ok(facts(table({ state }, seat('up', 'b')), record('b', 60_000)).canProgress, state);
    }
  });

  it('no progress: a killed child that does not go, and slots that were given up', () => {
    assert.ok(!facts(table(seat('stopping', 'a', 'stuck')), record('a', 500)).canProgress);
    assert.ok(!facts(table({ state: 'failed' })).canProgress);
  });

  it('ready: a child in each group', () => {
    const state = initialState(
      [
        { name: 'mail', count: 2 },
        { name: 'reports', count: 1 },
      ],
      DEFAULT_POLICY,
      0,
    );
    const withUp = (...up: number[]): SupervisorState => ({
      ...state,
      slots: state.slots.map((slot, index) =>
        up.includes(index) ? { ...slot, ...seat('up', `${index}`) } : slot,
      ),
    });
    assert.deepEqual(
      [withUp(), withUp(0, 1), withUp(1, 2)].map((each) => facts(each).isReady),
      [false, false, true],
    );
  });

  it('a status line', () => {
    const status = (state: SupervisorState, ...children: ChildRecord[]): string => {
      const { headline, figures } = facts(state, ...children);
      return headline + figures;
    };
    const up = table(seat('up', 'a'), seat('up', 'b'));
    const sized = (identity: string) => record(identity, 0, { busy: 6, pssBytes: 159e6, rssBytes: 300e6 });
    assert.equal(status(up, sized('a'), sized('b')), '2/2 up, 12 busy, 318MB');
    assert.equal(
      status(table(seat('up', 'a'), { state: 'backoff' }), sized('a')),
      '1/2 up, 1 backoff, 6 busy, 159MB',
    );
    assert.equal(
      status({ ...up, roll: 'rolling', generation: 3 }),
      'rolling to generation 3: 2/2 up, 0 busy',
    );
    assert.equal(status({ ...up, phase: 'stopping' }), 'stopping: 2 left, 0 busy');
    assert.equal(status({ ...up, redisLost: true }), '2/2 up, Redis does not answer, 0 busy');
  });
});

describe('what systemd puts into the environment', () => {
  it('is taken out of it', () => {
    const env = { NOTIFY_SOCKET: '/run/n', WATCHDOG_USEC: '60000000', WATCHDOG_PID: '7', PATH: '/bin' };
    assert.deepEqual(takeServiceSettings(env, 7), {
      socket: '/run/n',
      watchdogMs: 60_000,
      watchdogIsForeign: false,
    });
    assert.deepEqual(env, { PATH: '/bin' });
  });

  it('a watchdog for another process is not ours', () => {
    const settings = takeServiceSettings(
      { NOTIFY_SOCKET: '@n', WATCHDOG_USEC: '1000', WATCHDOG_PID: '8' },
      7,
    );
    assert.deepEqual([settings?.watchdogMs, settings?.watchdogIsForeign], [null, true]);
    assert.equal(takeServiceSettings({ NOTIFY_SOCKET: '@n', WATCHDOG_USEC: '0' }, 7)?.watchdogMs, null);
  });

  it('nobody wants to be told without a socket', () => {
    assert.equal(takeServiceSettings({ WATCHDOG_USEC: '1000' }, 7), null);
  });
});

describe('the sender of notices', () => {
  interface Attempt {
    assignments: readonly string[];
    succeed(): void;
    fail(): void;
  }

  function sender() {
    const attempts: Attempt[] = [];
    const warnings: string[] = [];
    const send = (assignments: readonly string[]): Promise<void> =>
      new Promise((resolve, reject) => {
        attempts.push({ assignments, succeed: resolve, fail: () => reject(new Error('spawn EAGAIN')) });
      });
    const made = new NoticeSender(send, { warn: (message) => warnings.push(message) });
    return { made, attempts, warnings };
  }

  const settled = () => new Promise((resolve) => setImmediate(resolve));

  it('sends one at a time, and merges what waits: the newest state counts', async () => {
    const { made, attempts } = sender();
    made.tell({ READY: '1', STATUS: 'a' });
    made.tell({ RELOADING: '1', STATUS: 'b' });
    made.tell({ WATCHDOG: '1' });
    made.tell({ READY: '1', STATUS: 'c' });
    assert.deepEqual(
      attempts.map(({ assignments }) => assignments),
      [['READY=1', 'STATUS=a']],
    );
    attempts[0]?.succeed();
    await settled();
    assert.deepEqual([...(attempts[1]?.assignments ?? [])].sort(), ['READY=1', 'STATUS=c', 'WATCHDOG=1']);
    attempts[1]?.succeed();
    await settled();
    assert.equal(attempts.length, 2);
  });

  it('tries again what could not be sent, with what is newer, and says so once', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const { made, attempts, warnings } = sender();
    made.tell({ READY: '1', STATUS: 'a' });
    attempts[0]?.fail();
    await settled();
    made.tell({ STATUS: 'b', WATCHDOG: '1' });
    assert.equal(attempts.length, 1, 'not before a second is over');
    t.mock.timers.tick(1_000);
    assert.deepEqual([...(attempts[1]?.assignments ?? [])].sort(), ['READY=1', 'STATUS=b', 'WATCHDOG=1']);
    attempts[1]?.fail();
    await settled();
    t.mock.timers.tick(1_000);
    attempts[2]?.succeed();
    await settled();
    assert.equal(warnings.length, 1);
  });

  it('waits at its end for what is on its way, and not for ever', async () => {
    const { made } = sender();
    made.tell({ STOPPING: '1' });
    const startedAtMs = performance.now();
    await made.close(50);
    assert.ok(performance.now() - startedAtMs >= 45);
  });
});
