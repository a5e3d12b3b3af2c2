import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { cellWidth } from '../dist/commands/terminal-text.js';
import { toAscii } from '../dist/commands/top/ascii.js';
import { History } from '../dist/commands/top/history.js';
import { type Key, type Model, onKey, rowsOf, START } from '../dist/commands/top/model.js';
import { frame, type Scene } from '../dist/commands/top/view.js';
import type { ChildRecord, MasterRecord } from '../dist/registry/schema.js';
import { childOn } from './doctor-exam.js';

const NOW_MS = 1_700_000_000_000;
const URL = 'redis://127.0.0.1:6379';

function child(slot: number, more: Partial<ChildRecord> = {}): ChildRecord {
  return childOn(URL, ['mail'], { identity: `web-1:${5000 + slot}:n`, slot, pid: 5000 + slot, ...more });
}

function master(children: ChildRecord[], more: Partial<MasterRecord> = {}): MasterRecord {
  const [identity, host, pid, startedAtMs] = ['web-1:4711:k3f9', 'web-1', 4711, NOW_MS - 60_000];
  return {
    ...{
      identity,
      host,
      pid,
      state: 'up' as const,
      generation: 0,
      startedAtMs,
      beatAtMs: NOW_MS,
      stale: false,
    },
    ...{
      tag: 'mail',
      version: '0.1.0',
      count: children.length,
      children,
      owed: [],
      jobMemory: [],
      jobDurations: [],
      rttUs: 300,
    },
    info: {
      ...{
        identity,
        host,
        pid,
        startedAtMs,
        bootId: null,
        pidNamespace: null,
        pidStartTicks: null,
        redisId: null,
      },
      ...{ version: '0.1.0', node: 'v20', tag: 'mail', labels: [], app: './worker.js', config: {} },
    },
    clockOffsetMs: 0,
    ...more,
  };
}

function showing(masters: MasterRecord[], more: Partial<Model> = {}): Model {
  return { ...START, snapshot: { masters, redisTimeMs: NOW_MS, warnings: [] }, ...more };
}

function scene(model: Model, { width = 80, height = 24, history = new History() } = {}): Scene {
  return { model, history, url: URL, namespace: 'default', width, height, clock: '12:00:01' };
}

const texts = (of: Scene): string[] => frame(of).map(({ text }) => text);
const press = (model: Model, ...keys: (string | Key)[]): Model =>
  keys.reduce<Model>(
    (now, key) => onKey(now, typeof key === 'string' ? { name: key } : key, 10).model,
    model,
  );
const pids = (model: Model): number[] => rowsOf(model).map(({ child: { pid } }) => pid);

const three = [
  child(0, { pssBytes: 50e6 }),
  child(1, { pssBytes: 90e6 }),
  child(2, { pssBytes: 70e6, cpuPercent: 80 }),
];

describe('the picture of swarm top', () => {
  it('fits 80 columns and 24 lines, with all that matters', () => {
    const lines = texts(scene(showing([master(three)])));
    assert.equal(lines.length, 24);
    const [title = '', summary = '', own = '', , header = ''] = lines;
    assert.match(title, /^swarm top {2}namespace default on redis:\/\/127\.0\.0\.1:6379 +12:00:01$/);
    assert.equal(title.length, 80);
    assert.match(summary, /1 master {2}3\/3 up {2}0 of 3 busy {2}210MB {2}cpu 82%/);
    assert.match(own, /^web-1:4711:k3f9 {2}mail {2}up/);
    for (const column of ['SLOT', 'STATE', 'PID', 'MEM▾', 'CPU%', 'LAG', 'BUSY', 'DONE'])
      assert.ok(header.includes(column), column);
    assert.match(lines[5] ?? '', /^> +1 up +5001 +90MB/);
    assert.match(lines.at(-1) ?? '', /q quit/);
  });

  it('fits any size, whatever names others choose, and obeys none of them', () => {
    const anyText = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 60 }),
      fc.constantFrom('\u001b]0;owned\u0007', 'two\nlines', '\u202ekcab', '日本語ジョブ'.repeat(20)),
    );
    const anyChild = fc.record({
      group: anyText,
      busy: fc.nat(),
      processed: fc.nat(),
      cpuPercent: fc.option(fc.nat()),
      identity: anyText,
    });
    const anyMaster = fc.record({ tag: anyText, host: anyText, identity: anyText, stale: fc.boolean() });
    const size = { width: fc.integer({ min: 20, max: 200 }), height: fc.integer({ min: 6, max: 60 }) };
    const sort = fc.constantFrom('slot', 'memory', 'uptime', 'restarts') as fc.Arbitrary<Model['sort']>;
    fc.assert(
      fc.property(
        fc.array(fc.tuple(anyMaster, fc.array(anyChild, { maxLength: 8 })), { maxLength: 5 }),
        fc.record({ ...size, sort }),
        (all, { width, height, sort }) => {
          const masters = all.map(([more, children]) =>
            master(
              children.map((own, slot) => child(slot, own)),
              more,
            ),
          );
          const lines = texts(scene(showing(masters, { sort }), { width, height }));
          assert.equal(lines.length, height);
          for (const line of lines) {
            assert.ok(cellWidth(line) <= width, `${cellWidth(line)} > ${width}: ${line}`);
            assert.doesNotMatch(line, /[\p{Cc}\p{Cf}]/u);
            assert.match(toAscii(line), /^[ -~]*$/);
          }
        },
      ),
    );
  });

  it('keeps its columns where they are, whatever the figures', () => {
    const header = (children: ChildRecord[]): string => texts(scene(showing([master(children)])))[4] ?? '';
    const huge = {
      pid: 4_194_303,
      pssBytes: 99_999e6,
      processed: 99_999_999,
      cpuPercent: 1_600,
      loopLagMs: 59_999,
    };
    assert.equal(header([child(0)]), header([child(0, huge)]));
  });

  it('shows curves that grow with each beat, and not with each reading', () => {
    const history = new History();
    for (const [at, pssBytes] of [10e6, 10e6, 20e6, 40e6].entries()) {
      const beat = master([child(0, { pssBytes, processed: at * 10 })], { beatAtMs: NOW_MS + at * 1_000 });
      history.add([beat], NOW_MS + at * 1_000);
      history.add([beat], NOW_MS + at * 1_000);
    }
    assert.deepEqual(history.of('web-1:5000:n').memoryBytes, [10e6, 10e6, 20e6, 40e6]);
    assert.equal(history.jobsPerSecond, 10);
    const row = texts(scene(showing([master([child(0)])]), { history }))[5] ?? '';
    assert.match(row, /▁▁▃█/);
    assert.match(toAscii(row), /\.\.-#/);
    history.add([master([])], NOW_MS);
    assert.deepEqual(history.of('web-1:5000:n').memoryBytes, []);
  });

  it('names hosts and groups only where there are several, and marks what is bad', () => {
    const other = master([child(3, { group: 'mail', stuckSinceMs: NOW_MS - 20_000 })], {
      host: 'web-2',
      identity: 'web-2:1:n',
      stale: false,
    });
    const lines = frame(scene(showing([master(three), other]), { width: 120 }));
    const header = lines.find(({ style }) => style === 'header')?.text ?? '';
    assert.match(header, /HOST +GROUP/);
    assert.ok(lines.some(({ text, style }) => style === 'bad' && /web-2 +mail +3 stuck/.test(text)));
    assert.ok(lines.some(({ text, style }) => style === 'bad' && /web-2:1:n .* 1 stuck/.test(text)));
  });

  it('says what to do where nobody runs, and what is wrong where nothing comes', () => {
    assert.match(
      texts(scene(showing([])))[3] ?? '',
      /No child is in namespace default. Start some with: swarm/,
    );
    const lines = texts(scene(showing([master(three)], { trouble: 'no Redis there' })));
    assert.equal(lines.at(-1), ' no Redis there');
  });
});

describe('the keys of swarm top', () => {
  const model = showing([master(three)]);

  it('sort: by memory first, by any other, the other way round', () => {
    assert.deepEqual(pids(model), [5001, 5002, 5000]);
    assert.deepEqual(pids(press(model, 'r')), [5000, 5002, 5001]);
    assert.deepEqual(pids(press(model, 'right')), [5002, 5000, 5001]);
    assert.deepEqual(pids(press(model, 'right', 'left')), pids(model));
    assert.deepEqual(pids(press(model, 's')), [5000, 5001, 5002]);
    const around = Array.from({ length: 10 }, () => 'left');
    assert.equal(press(model, ...around).sort, model.sort);
  });

  it('select: the same child stays selected, wherever it is sorted to', () => {
    const selected = press(model, 'down');
    assert.equal(selected.selected, 'web-1:5002:n');
    assert.equal(press(selected, 'c').selected, 'web-1:5002:n');
    assert.equal(press(model, 'up').selected, 'web-1:5001:n');
    assert.equal(press(model, 'end', 'down').selected, 'web-1:5000:n');
  });

  it('leave, suspend, dump', () => {
    const action = (key: Key) => onKey(model, key, 10).action;
    assert.deepEqual(
      [action({ name: 'q' }), action({ name: 'c', ctrl: true })],
      [{ type: 'quit' }, { type: 'quit' }],
    );
    assert.deepEqual(action({ name: 'z', ctrl: true }), { type: 'suspend' });
    const dump = action({ name: 'd' });
    assert.equal(dump?.type === 'dump' && dump.row.child.pid, 5001);
    assert.equal(onKey(showing([]), { name: 'd' }, 10).action, null);
  });

  it('open a pane, scroll it, and put it away', () => {
    const helped = press(model, { sequence: '?' });
    assert.equal(helped.pane?.title, 'keys');
    assert.equal(press(helped, 'down').pane?.from, 1);
    assert.equal(press(helped, 'q').pane, null);
    assert.deepEqual(onKey(helped, { name: 'q' }, 10).action, null);
  });
});
