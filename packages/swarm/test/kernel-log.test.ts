import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { mergeVictims, type OomVictim, parseOomLine, parseRecord } from '../dist/process/kernel-log.js';

const KILLED =
  'Memory cgroup out of memory: Killed process 26421 (node) total-vm:1147916kB, anon-rss:145536kB, ' +
  'file-rss:33748kB, shmem-rss:0kB, UID:0 pgtables:732kB oom_score_adj:300';
const SUMMARY =
  'oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a/b,' +
  'task=node,pid=26421,uid=0';

test('a record is its text, without a prefix and without further lines', () => {
  const text = fc.string().map((each) => each.replaceAll('\n', ' '));
  fc.assert(
    fc.property(fc.nat({ max: 7 }), fc.nat(), text, text, (level, sequence, line, more) => {
      assert.equal(parseRecord(`${level},${sequence},123,-;${line}\n ${more}\n`), line);
      assert.equal(parseRecord(`${level},${sequence},123,c,caller=T1;${line}`), line);
    }),
  );
  assert.equal(parseRecord(''), null);
  assert.equal(parseRecord('no record'), null);
});

test('what is not of the kernel itself is no evidence', () => {
  fc.assert(
    fc.property(fc.integer({ min: 8, max: 199 }), (priority) => {
      assert.equal(parseRecord(`${priority},1,1,-;${KILLED}`), null);
    }),
  );
});

test('both lines about a victim are understood, whatever the process calls itself', () => {
  const name = fc.string({ maxLength: 15 }).map((each) => each.replaceAll('\n', ' '));
  fc.assert(
    fc.property(fc.nat(), name, fc.nat(), (pid, comm, kib) => {
      for (const begin of [
        'Memory cgroup out of memory',
        'Out of memory',
        'Out of memory (oom_kill_allocating_task)',
      ]) {
        const text = `${begin}: Killed process ${pid} (${comm}) total-vm:9kB, anon-rss:${kib}kB, file-rss:1kB`;
        assert.deepEqual(parseOomLine(text), { pid, cgroup: null, anonRssBytes: kib * 1_024, text });
      }
    }),
  );
  assert.deepEqual(parseOomLine(SUMMARY), { pid: 26421, cgroup: '/a/b', anonRssBytes: null, text: SUMMARY });
  for (const other of [
    'node invoked oom-killer: gfp_mask=0xcc0',
    '[  26421]     0 26421   286979',
    '',
    'oom_reaper: reaped process 1',
  ]) {
    assert.equal(parseOomLine(other), null, other);
  }
  fc.assert(fc.property(fc.string(), (text) => parseOomLine(text) === null));
});

test('the two lines about one victim become one, in either order', () => {
  const [killed, summary] = [KILLED, SUMMARY].map(parseOomLine) as [OomVictim, OomVictim];
  const merged = { pid: 26421, cgroup: '/a/b', anonRssBytes: 145_536 * 1_024, text: KILLED };
  assert.deepEqual(mergeVictims([summary, killed]), [merged]);
  assert.deepEqual(mergeVictims([killed, summary]), [merged]);
  assert.deepEqual(mergeVictims([summary, { ...killed, pid: 1 }]), [summary, { ...killed, pid: 1 }]);
});
