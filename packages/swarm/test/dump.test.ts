import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { dumpsReport } from '../dist/commands/dump.js';
import { dumpReport } from '../dist/commands/dump-report.js';
import { pendingText, summaryOf, whereItHangs } from '../dist/dump.js';
import { digestOf, dumpFields } from '../dist/master/dumps.js';
import { decodeDigest, decodeDumpRecord, decodeFindings } from '../dist/registry/decode-dump.js';
import { dumpRecord, frame, pendingIo } from './dump-samples.js';

const NATIVE = {
  state: 'S',
  wchan: null,
  syscall: 'read',
  target: '/tmp/fifo',
  command: null,
  cpuPercent: 0,
};

describe('where a child hangs', () => {
  const place = (stack: ReturnType<typeof frame>[], more: object = {}) =>
    whereItHangs({ ...dumpRecord(1), stack, ...more });

  it('is the innermost frame and the app’s own', () => {
    assert.equal(whereItHangs(dumpRecord(1)), 'RegExp.test ← parse (/app/parse.js:1:2)');
    assert.equal(place([frame('spin')]), 'spin (/app/spin.js:1:2)');
  });

  it('names the package that the app has called, and leaves node’s own frames out', () => {
    const module = frame('validate', { owner: 'module', file: '/app/node_modules/joi/x.js' });
    const node = frame('pbkdf2Sync', { owner: 'node', file: 'node:crypto' });
    assert.equal(
      place([node, module, frame('run')]),
      'validate (/app/node_modules/joi/x.js:1:2) ← run (/app/run.js:1:2)',
    );
    assert.equal(place([node]), 'pbkdf2Sync (node:crypto:1:2)');
  });

  it('leads from the code of a vm to the file that runs it', () => {
    assert.equal(
      place([frame('', { file: 'sandbox.vm' }), frame('run')]),
      'sandbox.vm:1:2 ← run (/app/run.js:1:2)',
    );
  });

  it('is the call and what it is about, where there is no stack', () => {
    const native = (more: object) => place([], { kind: 'native', native: { ...NATIVE, ...more } });
    assert.equal(native({}), 'read /tmp/fifo');
    assert.equal(native({ syscall: 'running', target: null }), '');
    assert.equal(
      native({ syscall: 'epoll_wait', target: null, command: 'sleep 600' }),
      'a wait for sleep 600',
    );
    assert.equal(native({ syscall: 'futex', target: null, command: 'sleep 600' }), 'futex');
    assert.equal(place([], { kind: 'stopped', native: NATIVE }), '');
  });
});

describe('what a dump comes to', () => {
  it('is a line for each kind', () => {
    assert.match(
      summaryOf(dumpRecord(1)),
      /not come back to its loop for 10\.0 s: it stands in RegExp\.test ← parse/,
    );
    assert.match(summaryOf(dumpRecord(1, { isMoving: true })), /it runs on and on in/);
    const native = dumpRecord(1, { kind: 'native', stack: [], native: NATIVE });
    assert.match(summaryOf(native), /in native code for 10\.0 s: read \/tmp\/fifo/);
    assert.match(
      summaryOf({ ...dumpRecord(1), kind: 'native', isAfterBlock: true }),
      /has returned; it was made in/,
    );
    for (const kind of ['stopped', 'starved', 'debugger', 'job', 'turning', 'unseen'] as const)
      assert.notEqual(summaryOf(dumpRecord(1, { kind })), '');
  });

  it('names what the job has begun, and nothing of its neighbours', () => {
    const { job } = dumpRecord(1);
    const own = pendingIo('GET http://a/', { job: { queue: 'mail', id: '7' } });
    const others = pendingIo('GET http://b/', { job: { queue: 'mail', id: '8' } });
    const nobodys = pendingIo('GET http://c/');
    const open = pendingIo('', { type: 'socket', phase: 'open' });
    const text = (io: (typeof own)[]) => pendingText({ job, io, processes: [] });
    assert.equal(text([others, own]), 'it may wait for GET http://a/ (sent, no answer yet, 12.3 s)');
    assert.match(text([others, open]), /^it has begun no request, look-up or process/);
    assert.match(text([others, nobodys]), /^what it waits for is not known: .* by job$/);
    const process = (id: string | null) => {
      const whose = id === null ? null : { queue: 'mail', id };
      return { pid: 5, command: 'sleep', state: 'S', ageMs: 1, job: whose };
    };
    const started = (id: string | null) => pendingText({ job, io: [], processes: [process(id)] });
    assert.equal(started('7'), 'it may wait for sleep (pid 5)');
    assert.match(started('8'), /^it has begun no/);
    assert.match(started(null), /^what it waits for is not known/);
  });
});

describe('a dump as text', () => {
  it('is read as it was written', () => {
    const io = [pendingIo('GET http://a/?…', { peer: '10.0.0.1:80', job: { queue: 'mail', id: '7' } })];
    const processes = [{ pid: 5, command: 'sleep', state: 'S', ageMs: 1, job: { queue: 'mail', id: '7' } }];
    const record = dumpRecord(1, { io, processes, native: NATIVE, notes: ['n'], job: null });
    assert.deepEqual(decodeDumpRecord(JSON.stringify(record)), record);
    assert.deepEqual(decodeDigest(JSON.parse(JSON.stringify(digestOf(record)))), digestOf(record));
  });

  it('of any other making is refused, or bounded', () => {
    for (const text of [
      '',
      'x',
      '{}',
      '[]',
      '{"kind":"javascript"}',
      JSON.stringify({ ...dumpRecord(1), kind: 'odd' }),
    ])
      assert.equal(decodeDumpRecord(text), null, text);
    fc.assert(fc.property(fc.json(), (text) => decodeDumpRecord(text) === null));
    const stack = Array.from({ length: 1_000 }, () => frame('f'.repeat(10_000)));
    const found = decodeFindings({ kind: 'native', stack, io: Array(1_000).fill(pendingIo('x')) });
    assert.deepEqual([found?.stack.length, found?.io.length], [64, 100]);
    assert.equal(found?.stack[0]?.function.length, 400);
  });

  it('survives what a child gone mad says', () => {
    const odd = fc.record({
      kind: fc.constantFrom('javascript', 'native'),
      stack: fc.anything(),
      io: fc.anything(),
      jobs: fc.anything(),
      native: fc.anything(),
      heap: fc.anything(),
      resources: fc.anything(),
      job: fc.anything(),
    });
    fc.assert(
      fc.property(odd, (value) => {
        const findings = decodeFindings(value);
        assert.ok(findings);
        const record = { ...dumpRecord(1), ...findings };
        dumpReport(record, 80);
        dumpFields(record);
      }),
    );
  });
});

describe('a dump for people', () => {
  it('begins with what it comes to, then the user’s own code', () => {
    const text = dumpReport(dumpRecord(1), 200).join('\n');
    const order = [
      /javascript {2}blocked for 10s {2}asked for by stuck/,
      /what it comes to/,
      /\njob\n/,
      /your code\n {2}at parse \(/,
      /\nstack\n {2}at RegExp/,
    ];
    let at = 0;
    for (const pattern of order) {
      const found = text.slice(at).search(pattern);
      assert.ok(found >= 0, `${pattern} in\n${text}`);
      at += found;
    }
    assert.match(text, /heap .* of .*outside/);
  });

  it('says that any of several jobs may be it', () => {
    const [job] = dumpRecord(1).jobs;
    const jobs = job ? [job, { ...job, id: '8' }] : [];
    const text = dumpReport(dumpRecord(1, { job: null, jobs }), 120).join('\n');
    assert.match(text, /jobs, each of which may be it/);
  });

  it('obeys nothing of what others wrote', () => {
    const text = dumpReport(dumpRecord(1, { stack: [frame('\u001b[2Jx')] }), 120).join('\n');
    assert.ok(!text.includes('\u001b'));
  });

  it('is a row of a table', () => {
    const where = { url: 'redis://x', namespace: 'default' };
    assert.match(dumpsReport({ dumps: [], warnings: [] }, where, 120), /No dump is stored/);
    const text = dumpsReport(
      { dumps: [dumpRecord(1), dumpRecord(2, { job: null })], warnings: [] },
      where,
      200,
    );
    assert.match(text, /KIND/);
    assert.match(text, /mail\/7/);
    assert.match(text, /one of 1/);
  });

  it('is a line of the log', () => {
    const fields = dumpFields(dumpRecord(1));
    assert.deepEqual(
      [fields['kind'], fields['in'], fields['job'], fields['attempt'], fields['blocked']],
      ['javascript', 'RegExp.test ← parse (/app/parse.js:1:2)', 'mail/7', 2, '10000ms'],
    );
  });
});
