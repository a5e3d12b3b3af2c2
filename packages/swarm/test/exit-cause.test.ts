import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { DEATH_CAUSES, isPlanned, type OomEvidence } from '../dist/death.js';
import { type ExitFacts, heapOomLine, judge } from '../dist/process/exit-cause.js';

const FACTS: ExitFacts = {
  code: null,
  signal: null,
  killedFor: null,
  leavesFor: null,
  wasReady: true,
  drained: false,
  uncaught: null,
  heapOom: null,
  oom: null,
  addons: [],
};
const NO_OOM: OomEvidence = {
  counterFile: '/sys/fs/cgroup/a/memory.events.local',
  counted: 0,
  kernelLogRead: false,
  kernelLog: null,
  anonRssBytes: null,
  onMachine: 0,
};
const KERNEL_LINE = 'Memory cgroup out of memory: Killed process 4711 (node) total-vm:1kB, anon-rss:2kB';
const HEAP_LINE = 'FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory';
const UNCAUGHT = { phase: 'run', message: 'no', stack: 'TypeError: no\n    at f (a.js:1:1)' } as const;

const cause = (facts: Partial<ExitFacts>) => judge({ ...FACTS, ...facts }).cause;
const evidence = (facts: Partial<ExitFacts>) => judge({ ...FACTS, ...facts }).evidence;

describe('the cause of a death', () => {
  it('is what its master did, before all else', () => {
    const all = {
      signal: 'SIGKILL',
      heapOom: HEAP_LINE,
      uncaught: UNCAUGHT,
      oom: { ...NO_OOM, counted: 1 },
    } as const;
    for (const killedFor of ['boot-timeout', 'max-memory-hard', 'stuck', 'job-timeout'] as const) {
      assert.equal(cause({ ...all, killedFor }), killedFor);
      assert.equal(cause({ ...all, killedFor, leavesFor: 'roll' }), killedFor);
    }
  });

  it('has the figures of the limit that it was recycled or killed for, and of no other end', () => {
    const excess = 'max-memory: PSS 612MB of 500MB';
    const recycled = judge({ ...FACTS, code: 0, drained: true, leavesFor: 'recycle', excess });
    assert.match(recycled.evidence.summary, /\(recycle, max-memory: PSS 612MB of 500MB\)/);
    const rolled = judge({ ...FACTS, code: 0, drained: true, leavesFor: 'roll', excess });
    assert.equal(rolled.evidence.summary, 'told to leave (roll)');
    const killed = judge({ ...FACTS, signal: 'SIGKILL', killedFor: 'max-memory-hard', excess });
    assert.match(killed.evidence.summary, /612MB of 500MB/);
  });

  it('has what the Workers said of their connections, where it was not ready for that', () => {
    const bootTrouble = 'the Worker of mail: NOAUTH Authentication required.';
    const late = { signal: 'SIGKILL', killedFor: 'boot-timeout', wasReady: false, bootTrouble } as const;
    assert.match(evidence(late).summary, /not ready in time .*; the Worker of mail: NOAUTH/);
    assert.match(evidence({ code: 1, wasReady: false, bootTrouble }).summary, /\(the Worker of mail: NOAUTH/);
    assert.doesNotMatch(evidence({ code: 1, bootTrouble }).summary, /NOAUTH/);
  });

  it('is that it was told to leave, also where it had to be killed for it, and the evidence says which', () => {
    const words = { stop: 'stopped', scale: 'stopped', roll: 'rolled', recycle: 'recycled' } as const;
    for (const leavesFor of ['stop', 'scale', 'roll', 'recycle'] as const) {
      const clean = judge({ ...FACTS, code: 0, drained: true, leavesFor });
      const killed = judge({ ...FACTS, signal: 'SIGKILL', killedFor: 'stop-timeout', leavesFor });
      assert.deepEqual([clean.cause, killed.cause], [words[leavesFor], words[leavesFor]]);
      assert.deepEqual([isPlanned(clean), isPlanned(killed)], [true, false]);
      assert.match(killed.evidence.summary, /killed by its master/);
      assert.equal(killed.evidence.killedFor, 'stop-timeout');
    }
  });

  it('is not a kill that came too late', () => {
    assert.equal(cause({ killedFor: 'stop-timeout', leavesFor: 'stop', drained: true, code: 0 }), 'stopped');
    assert.equal(cause({ killedFor: 'boot-timeout', code: 3 }), 'exit');
  });

  it('is the kernel’s OOM killer where its counter or its log says so, and a SIGKILL otherwise', () => {
    const counted = { ...NO_OOM, counted: 1 };
    const logged = {
      ...NO_OOM,
      counterFile: null,
      kernelLog: KERNEL_LINE,
      anonRssBytes: 2_048,
      kernelLogRead: true,
    };
    assert.equal(cause({ signal: 'SIGKILL', oom: counted }), 'oom-kill');
    assert.equal(cause({ signal: 'SIGKILL', oom: logged }), 'oom-kill');
    assert.equal(cause({ signal: 'SIGKILL', oom: NO_OOM }), 'signal');
    assert.equal(cause({ signal: 'SIGTERM', oom: counted }), 'signal');
    assert.match(evidence({ signal: 'SIGKILL', oom: counted }).summary, /oom_kill of \/sys.* went up by 1/);
    assert.ok(evidence({ signal: 'SIGKILL', oom: logged }).summary.includes(KERNEL_LINE));
  });

  it('says of a SIGKILL what is known of it, and what would tell more', () => {
    const unread = { ...NO_OOM, counterFile: null, onMachine: null };
    const cases: [OomEvidence | null, RegExp][] = [
      [NO_OOM, /^not the kernel's OOM killer: oom_kill of \/sys\S+ counts no other/],
      [{ ...unread, kernelLogRead: true }, /^not the kernel's OOM killer: its log does not name this pid/],
      [{ ...unread, onMachine: 0 }, /^not the kernel's OOM killer: it killed nobody on this machine/],
      [
        { ...unread, onMachine: 2 },
        /nobody can be ruled out; the kernel OOM-killed 2 .* perhaps this one: dmesg as root/,
      ],
      [unread, /nobody can be ruled out: dmesg as root/],
      [null, /kernel when out of memory \(dmesg\)/],
    ];
    for (const [oom, says] of cases) {
      const { summary, hint } = evidence({ signal: 'SIGKILL', oom });
      assert.equal(summary, 'SIGKILL, not sent by its master');
      assert.match(hint ?? '', says);
      assert.match(hint ?? '', /kill -9, systemd-oomd or earlyoom/);
    }
  });

  it('is a full heap where V8 said so and aborted', () => {
    assert.equal(cause({ signal: 'SIGABRT', heapOom: HEAP_LINE, uncaught: UNCAUGHT }), 'heap-oom');
    for (const signal of ['SIGABRT', 'SIGTRAP', 'SIGILL'] as const) {
      assert.equal(cause({ signal, heapOom: HEAP_LINE }), 'heap-oom');
      assert.equal(cause({ signal }), 'signal');
    }
    assert.equal(cause({ signal: 'SIGSEGV', heapOom: HEAP_LINE }), 'signal');
    assert.equal(cause({ code: 1, heapOom: HEAP_LINE }), 'exit');
  });

  it('is an uncaught error where one was reported', () => {
    assert.equal(cause({ code: 1, uncaught: UNCAUGHT }), 'uncaught');
    assert.equal(
      cause({ signal: 'SIGABRT', uncaught: UNCAUGHT }),
      'uncaught',
      '--abort-on-uncaught-exception',
    );
    assert.equal(evidence({ code: 1, uncaught: UNCAUGHT }).summary, 'TypeError: no');
    assert.equal(
      evidence({ code: 1, uncaught: { ...UNCAUGHT, phase: 'boot', stack: '' } }).summary,
      'at boot: no',
    );
  });

  it('is a signal or an exit code where nothing else is known', () => {
    assert.equal(evidence({ signal: 'SIGTERM' }).summary, 'SIGTERM: somebody else sent it');
    assert.match(
      evidence({ signal: 'SIGSEGV', addons: ['a.node'] }).summary,
      /crashed \(native addons were loaded: 1\), or somebody/,
    );
    assert.match(evidence({ signal: 'SIGSEGV' }).summary, /no native addon was loaded/);
    assert.equal(evidence({ code: 3 }).summary, 'ended itself with exit code 3');
    assert.equal(
      evidence({ code: 0, wasReady: false }).summary,
      'ended itself with exit code 0, before it was ready',
    );
    assert.match(evidence({ code: 13 }).summary, /top-level await/);
  });

  it('is what it was told to leave for, whatever its exit code, and although its jobs were not handed back', () => {
    assert.equal(cause({ code: 0, leavesFor: 'recycle', drained: false }), 'recycled');
    assert.equal(cause({ code: 1, leavesFor: 'roll', drained: true }), 'rolled');
    assert.equal(
      evidence({ code: 1, leavesFor: 'roll' }).summary,
      'told to leave (roll), and left with exit code 1',
    );
    assert.equal(cause({ code: 1, leavesFor: 'stop', uncaught: UNCAUGHT }), 'uncaught');
    assert.equal(cause({ signal: 'SIGSEGV', leavesFor: 'stop' }), 'signal');
  });

  it('is one of the known ones, with words, whatever the facts', () => {
    const plain = { noNullPrototype: true };
    const oom = fc.option(
      fc.record(
        {
          counterFile: fc.option(fc.string()),
          counted: fc.nat(),
          kernelLogRead: fc.boolean(),
          kernelLog: fc.option(fc.string()),
          anonRssBytes: fc.option(fc.nat()),
          onMachine: fc.option(fc.nat()),
        },
        plain,
      ),
    );
    const facts = fc.record(
      {
        code: fc.option(fc.nat({ max: 255 })),
        signal: fc.option(fc.constantFrom('SIGKILL', 'SIGABRT', 'SIGSEGV', 'SIGTERM', 'SIGUSR2')),
        killedFor: fc.option(
          fc.constantFrom('boot-timeout', 'stop-timeout', 'max-memory-hard', 'stuck', 'job-timeout'),
        ),
        leavesFor: fc.option(fc.constantFrom('stop', 'scale', 'roll', 'recycle')),
        wasReady: fc.boolean(),
        drained: fc.boolean(),
        uncaught: fc.option(
          fc.record(
            { phase: fc.constantFrom('boot', 'run'), message: fc.string(), stack: fc.string() },
            plain,
          ),
        ),
        heapOom: fc.option(fc.constant(HEAP_LINE)),
        oom,
        addons: fc.array(fc.string()),
      },
      plain,
    );
    fc.assert(
      fc.property(facts, (given) => {
        const judged = judge(given as ExitFacts);
        assert.ok(DEATH_CAUSES.includes(judged.cause));
        assert.equal(typeof judged.evidence.summary, 'string');
        assert.deepEqual(JSON.parse(JSON.stringify(judged)), judged, 'it is data');
        if (judged.cause === 'oom-kill') assert.equal(given.signal, 'SIGKILL');
        if (isPlanned(judged)) assert.ok(given.code !== null && (given.drained || given.leavesFor !== null));
      }),
    );
  });
});

describe('V8’s last words', () => {
  it('are told from other lines', () => {
    for (const line of [
      HEAP_LINE,
      'FATAL ERROR: Ineffective mark-compacts near heap limit Allocation failed - JavaScript heap out of memory',
      'FATAL ERROR: Zone Allocation failed - process out of memory',
      '# Fatal process out of memory: Zone',
      '# Fatal JavaScript out of memory: Reached heap limit',
    ]) {
      assert.equal(heapOomLine(line), line);
    }
    for (const line of [
      '',
      'FATAL ERROR: v8::ToLocalChecked Empty MaybeLocal',
      `my log: ${HEAP_LINE}`,
      'JavaScript heap out of memory',
    ]) {
      assert.equal(heapOomLine(line), null, line);
    }
  });
});
