import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { DeathNotice } from '../dist/protocol.js';
import {
  type Accused,
  type DeathNote,
  isTooMuch,
  judge,
  judgeAll,
  noteOf,
  parseNotes,
  quarantineReason,
  sharedLimit,
} from '../dist/recovery/blame.js';

const COUNTED = ['uncaught', 'exit', 'signal', 'oom-kill', 'heap-oom', 'max-memory-hard', 'stuck'];
const UNCOUNTED = [
  'job-timeout',
  'stopped',
  'recycled',
  'rolled',
  'boot-timeout',
  'stop-timeout',
  'host-lost',
  '',
];
const none = { exact: 0, shared: 0, quarantineAfter: 3 };

describe('judge', () => {
  it('counts what ended the process from within, and nothing else', () => {
    for (const cause of COUNTED) assert.equal(judge({ ...none, cause, alone: true }).kind, 'exact', cause);
    for (const cause of UNCOUNTED) assert.equal(judge({ ...none, cause, alone: true }).kind, 'none', cause);
  });

  it('is exact for a job that was alone or that the evidence names, and clears the others then', () => {
    const cause = 'stuck';
    assert.equal(judge({ ...none, cause, alone: false }).kind, 'shared');
    assert.equal(judge({ ...none, cause, alone: false, isNamed: true }).kind, 'exact');
    assert.equal(judge({ ...none, cause, alone: false, isNamed: false }).kind, 'none');
  });

  it('quarantines at the third exact death, or at the tenth shared one', () => {
    const exact = (before: number) =>
      judge({ cause: 'exit', alone: true, exact: before, shared: 9, quarantineAfter: 3 });
    assert.deepEqual(exact(1), { kind: 'exact', exact: 2, shared: 9, quarantined: false });
    assert.deepEqual(exact(2), { kind: 'exact', exact: 3, shared: 9, quarantined: true });
    const shared = (before: number) =>
      judge({ cause: 'exit', alone: false, exact: 2, shared: before, quarantineAfter: 3 });
    assert.equal(shared(8).quarantined, false);
    assert.equal(shared(9).quarantined, true);
    assert.deepEqual([1, 2, 3, 5].map(sharedLimit), [4, 7, 10, 16]);
  });

  it('never quarantines for a death that does not count, nor when it is off', () => {
    fc.assert(
      fc.property(
        fc.nat(100),
        fc.nat(100),
        fc.boolean(),
        fc.constantFrom(...COUNTED, ...UNCOUNTED),
        (exact, shared, alone, cause) => {
          assert.equal(judge({ cause, alone, exact, shared, quarantineAfter: null }).quarantined, false);
          const { kind, quarantined, ...blame } = judge({ cause, alone, exact, shared, quarantineAfter: 3 });
          assert.equal(blame.exact + blame.shared, exact + shared + (kind === 'none' ? 0 : 1));
          assert.equal(quarantined, kind !== 'none' && isTooMuch(blame, 3));
        },
      ),
    );
  });
});

describe('judgeAll', () => {
  const job = (id: string): Accused => ({ queue: 'q', id, blame: { exact: 0, shared: 0 }, notes: [] });
  const death = (at: number, cause: string, pinned: string | null): DeathNotice => {
    const named = pinned === null ? null : { queue: 'q', id: pinned };
    return { id: `host:${at}:x`, cause, detail: '', atMs: at, waiting: [], pinned: named };
  };
  const whole = { isComplete: true, quarantineAfter: 3 };

  /** What is left of the jobs after these deaths, each put back but for those that are quarantined. */
  function suffer(ids: readonly string[], deaths: readonly DeathNotice[]): Map<string, Accused | null> {
    const jobs = new Map<string, Accused | null>(ids.map((id) => [id, job(id)]));
    for (const notice of deaths) {
      const held = [...jobs.values()].filter((one) => one !== null);
      judgeAll(held, notice, whole).forEach(({ kind, exact, shared, quarantined }, at) => {
        const one = held[at] as Accused;
        const notes = kind === 'none' ? one.notes : [...one.notes, noteOf(notice, kind)];
        jobs.set(one.id, quarantined ? null : { ...one, blame: { exact, shared }, notes });
      });
    }
    return jobs;
  }

  it('never charges anybody beside the culprit that the evidence names', () => {
    const culprits = fc.constantFrom('a', 'b');
    const named = fc.record({ cause: fc.constantFrom('stuck', 'uncaught'), culprit: culprits });
    fc.assert(
      fc.property(fc.array(named, { maxLength: 30 }), (ends) => {
        const deaths = ends.map(({ cause, culprit }, at) => death(at, cause, culprit));
        const innocent = suffer(['a', 'b', 'innocent'], deaths).get('innocent');
        assert.deepEqual(innocent?.blame, { exact: 0, shared: 0 });
      }),
    );
  });

  it('charges nobody for a job past its time, and all for what nobody is named for', () => {
    const timeouts = suffer(
      ['a', 'b'],
      Array.from({ length: 20 }, (_, at) => death(at, 'job-timeout', null)),
    );
    assert.deepEqual(timeouts.get('b')?.blame, { exact: 0, shared: 0 });
    const [a] = judgeAll([job('a'), job('b')], death(0, 'stuck', 'a'), whole);
    assert.deepEqual([a?.kind, a?.named], ['exact', true]);
    assert.equal(judgeAll([job('a')], death(0, 'stuck', 'a'), whole)[0]?.named, false, 'it was alone');
    const shared = suffer(['a', 'b'], [death(0, 'uncaught', null)]);
    assert.deepEqual(
      [...shared.values()].map((one) => one?.blame.shared),
      [1, 1],
    );
  });

  it('charges a death once, and holds nobody for alone while queues are out of reach', () => {
    const [first] = judgeAll([job('a')], death(0, 'exit', null), { isComplete: false, quarantineAfter: 3 });
    assert.equal(first?.kind, 'shared');
    const charged = { ...job('a'), notes: [noteOf(death(0, 'exit', null), 'exact')] };
    assert.equal(judgeAll([charged], death(0, 'exit', null), whole)[0]?.kind, 'none');
  });
});

describe('the notes of a job', () => {
  const note = (at: number, blame: 'exact' | 'shared' = 'exact', cause = 'oom-kill'): DeathNote => {
    return { death: `host:${at}:x`, cause, atMs: Date.UTC(2026, 0, 31, 12, 0, at), blame };
  };

  it('survive whatever is in the hash', () => {
    assert.deepEqual(parseNotes(JSON.stringify([note(1), note(2)])), [note(1), note(2)]);
    for (const text of [null, '', 'x', '{}', '[1,null,{"death":1}]', '"[]"'])
      assert.deepEqual(parseNotes(text), []);
    fc.assert(fc.property(fc.json(), (text) => void parseNotes(text)));
  });

  it('make the reason, with what each death was', () => {
    const death = {
      id: 'host:1:x',
      cause: 'signal',
      detail: 'SIGSEGV',
      atMs: Date.UTC(2026, 0, 31, 12),
      waiting: [],
      pinned: null,
    };
    const notes = [noteOf(death, 'exact'), note(1), note(2, 'shared'), note(3)];
    assert.equal(
      quarantineReason({ exact: 3, shared: 1 }, notes, 3),
      'quarantined: its process died 3 times while it ran alone: ' +
        'signal SIGSEGV 2026-01-31 12:00:00Z, oom-kill 2026-01-31 12:00:01Z, oom-kill 2026-01-31 12:00:03Z',
    );
    assert.equal(
      quarantineReason({ exact: 0, shared: 4 }, [note(1, 'shared', 'exit code 3')], 1),
      'quarantined: its process died 4 times while it ran among others: exit code 3 2026-01-31 12:00:01Z, and 3 before',
    );
    assert.match(
      quarantineReason({ exact: 3, shared: 0 }, [note(1), noteOf(death, 'exact', true)], 3),
      /died 3 times while it ran alone, or by what it did: /,
    );
    assert.match(
      quarantineReason({ exact: 1, shared: 0 }, [{ ...note(0), atMs: 1e300 }], 1),
      /^quarantined: its process died once /,
    );
  });
});
