import assert from 'node:assert/strict';
import { type ChildProcess, type StdioOptions, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { OutputSink } from '../dist/output-sink.js';

const SINK_URL = new URL('../dist/output-sink.js', import.meta.url).href;

/** Runs in a process of its own. `sink` writes to stdout; `report` to fd 3. */
const PRELUDE = `
import fs from 'node:fs';
import { OutputSink } from ${JSON.stringify(SINK_URL)};
const report = (facts) => fs.writeSync(3, JSON.stringify(facts));
const nextTurn = () => new Promise((resolve) => setImmediate(resolve));
`;

interface Facts {
  grownBytes: number;
  bufferedBytes: number;
  dropped: { lines: number; bytes: number };
}

/** 100 MB of numbered lines, 10,000 lines a turn; then facts, a flush and a natural end. */
const FLOOD = `${PRELUDE}
const sink = new OutputSink({ limitBytes: 1024 * 1024 });
const before = process.memoryUsage.rss();
for (let number = 0; number < 1_000_000; ) {
  const dropped = sink.takeDropped();
  if (dropped !== null) sink.write('gap ' + dropped.lines + '\\n');
  for (let end = number + 10_000; number < end; number += 1) sink.write(String(number).padEnd(99, '.') + '\\n');
  await nextTurn();
}
const facts = {
  grownBytes: process.memoryUsage.rss() - before,
  bufferedBytes: sink.bufferedBytes,
  dropped: sink.dropped,
};
await sink.flush(FLUSH_MS);
const last = sink.takeDropped();
if (last !== null) sink.write('gap ' + last.lines + '\\n');
report(facts);
`;

function runScript(context: TestContext, script: string, stdout: StdioOptions[number]): ChildProcess {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', stdout, 'inherit', 'pipe'],
  } as { stdio: StdioOptions });
  context.after(() => child.kill('SIGKILL'));
  return child;
}

async function factsOf<T>(child: ChildProcess): Promise<T> {
  const facts = await readAll(child.stdio[3] as Readable);
  assert.notEqual(facts, '', 'the process ended without its facts');
  return JSON.parse(facts);
}

async function readAll(stream: Readable): Promise<string> {
  let text = '';
  for await (const chunk of stream) text += chunk;
  return text;
}

function temporaryFile(context: TestContext): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'swarm-sink-'));
  context.after(() => fs.rmSync(directory, { recursive: true, force: true }));
  return path.join(directory, 'out');
}

const LIMITS = { timeout: 60_000 };

test(
  'a reader that never reads neither stops the writer, nor fills its memory, nor keeps it alive',
  LIMITS,
  async (context) => {
    const child = runScript(context, FLOOD.replace('FLUSH_MS', '50'), 'pipe');
    const exited = once(child, 'exit');
    const facts = await factsOf<Facts>(child);
    assert.deepEqual(await exited, [0, null]);
    assert.ok(
      facts.bufferedBytes > 0 && facts.bufferedBytes <= 1024 * 1024,
      `held ${facts.bufferedBytes} bytes`,
    );
    assert.ok(facts.dropped.lines > 980_000, `dropped ${facts.dropped.lines} lines`);
    assert.equal(facts.dropped.bytes, facts.dropped.lines * 100);
    assert.ok(facts.grownBytes < 60e6, `grew by ${facts.grownBytes} bytes`);
  },
);

test('a slow reader gets whole lines, and each gap with its size where it was', LIMITS, async (context) => {
  const child = runScript(context, FLOOD.replace('FLUSH_MS', '20_000'), 'pipe');
  const facts = factsOf<Facts>(child);
  let text = '';
  for await (const chunk of child.stdout as Readable) {
    text += chunk;
    await delay(2);
  }
  let expected = 0;
  for (const line of text.split('\n').slice(0, -1)) {
    const gap = /^gap (\d+)$/.exec(line);
    if (gap !== null) {
      expected += Number(gap[1]);
    } else {
      assert.equal(line, String(expected).padEnd(99, '.'));
      expected += 1;
    }
  }
  assert.equal(expected, 1_000_000);
  assert.ok((await facts).dropped.lines > 0, 'the reader was not slow');
});

test('a reader that goes away is survived, and what it misses is counted', LIMITS, async (context) => {
  const script = `${PRELUDE}
const sink = new OutputSink({ limitBytes: 1024 * 1024 });
let lines = 0;
while (!sink.closed) {
  for (let i = 0; i < 100; i += 1, lines += 1) sink.write('x'.repeat(99) + '\\n');
  await nextTurn();
}
const before = sink.dropped.lines;
const taken = sink.write('too late\\n');
await sink.flush(5_000);
report({ lines, before, after: sink.dropped.lines, taken, bufferedBytes: sink.bufferedBytes });
`;
  const child = runScript(context, script, 'pipe');
  const exited = once(child, 'exit');
  child.stdout?.once('data', () => child.stdout?.destroy());
  const facts = await factsOf<Record<string, number>>(child);
  assert.deepEqual(await exited, [0, null]);
  assert.equal(facts.after, (facts.before ?? 0) + 1);
  assert.ok((facts.before ?? 0) > 0 && (facts.before ?? 0) <= (facts.lines ?? 0));
  assert.equal(facts.taken, false);
  assert.equal(facts.bufferedBytes, 0);
});

test('a file gets every byte in order', LIMITS, async (context) => {
  const file = temporaryFile(context);
  const fd = fs.openSync(file, 'w');
  const script = `${PRELUDE}
const sink = new OutputSink();
for (let i = 0; i < 20_000; i += 1) sink.write(i % 2 === 0 ? 'line ' + i + ' €\\n' : Buffer.from('line ' + i + '\\n'));
sink.write('y'.repeat(200_000) + '\\n');
sink.write('last\\n');
process.on('exit', () => sink.flushSync());
process.exit(0);
`;
  const child = runScript(context, script, fd);
  fs.closeSync(fd);
  assert.deepEqual(await once(child, 'exit'), [0, null]);
  const lines = Array.from({ length: 20_000 }, (_, i) => (i % 2 === 0 ? `line ${i} €` : `line ${i}`));
  assert.equal(fs.readFileSync(file, 'utf8'), [...lines, 'y'.repeat(200_000), 'last', ''].join('\n'));
});

test(
  'what is written just before the process exits reaches a pipe that has room',
  LIMITS,
  async (context) => {
    const script = `${PRELUDE}
const sink = new OutputSink();
process.on('exit', () => sink.flushSync());
sink.write('last words\\n');
process.exit(0);
`;
    const child = runScript(context, script, 'pipe');
    assert.equal(await readAll(child.stdout as Readable), 'last words\n');
  },
);

test('a full disk is counted, and the log goes on when there is room', {
  skip: !fs.existsSync('/dev/full') && 'there is no /dev/full',
}, async (context) => {
  const file = temporaryFile(context);
  const fd = fs.openSync('/dev/full', 'w');
  const sink = new OutputSink({ fd });
  sink.write('lost 1\n');
  sink.write('lost 2\n');
  await sink.flush(1_000);
  assert.deepEqual(sink.dropped, { lines: 2, bytes: 14 });
  assert.equal(sink.takeDropped(), null, 'there is no room to tell of it');
  // The lowest free descriptor is given out next: the sink's own now leads to a disk with room.
  fs.closeSync(fd);
  assert.equal(fs.openSync(file, 'w'), fd);
  context.after(() => fs.closeSync(fd));
  sink.write('kept\n');
  await sink.flush(1_000);
  assert.deepEqual(sink.takeDropped(), { lines: 2, bytes: 14 });
  assert.equal(sink.takeDropped(), null, 'told once');
  assert.equal(fs.readFileSync(file, 'utf8'), 'kept\n');
});

test('a line above the limit is dropped alone', async (context) => {
  const file = temporaryFile(context);
  const fd = fs.openSync(file, 'w');
  context.after(() => fs.closeSync(fd));
  const sink = new OutputSink({ fd, limitBytes: 100 });
  assert.equal(sink.write(`${'x'.repeat(100)}\n`), false);
  assert.equal(sink.write('short\n'), true);
  await sink.flush(1_000);
  assert.equal(fs.readFileSync(file, 'utf8'), 'short\n');
  assert.deepEqual(sink.dropped, { lines: 1, bytes: 101 });
});

test('a descriptor that is not open is a reader that is gone', async () => {
  const sink = new OutputSink({ fd: 987 });
  sink.write('a\n');
  await sink.flush(1_000);
  assert.equal(sink.closed, true);
  assert.deepEqual(sink.dropped, { lines: 1, bytes: 2 });
});

/** util-linux's `script` runs a command on a terminal of its own. */
const hasScript =
  spawnSync('script', ['--version'], { encoding: 'utf8' }).stdout?.includes('util-linux') ?? false;

test('a terminal that takes nothing stops nothing', {
  ...LIMITS,
  skip: !hasScript && 'there is no script(1)',
}, async (context) => {
  const file = temporaryFile(context);
  const program = `${file}.mjs`;
  fs.writeFileSync(
    program,
    `
import fs from 'node:fs';
import { OutputSink } from ${JSON.stringify(SINK_URL)};
const sink = new OutputSink({ limitBytes: 1024 * 1024 });
for (let i = 0; i < 100; i += 1) {
  for (let j = 0; j < 1_000; j += 1) sink.write('x'.repeat(99) + '\\n');
  await new Promise((resolve) => setImmediate(resolve));
}
const facts = { isTty: sink.isTty, bufferedBytes: sink.bufferedBytes, lines: sink.dropped.lines };
await sink.flush(50);
process.on('exit', () => fs.renameSync(${JSON.stringify(`${file}.part`)}, ${JSON.stringify(file)}));
fs.writeFileSync(${JSON.stringify(`${file}.part`)}, JSON.stringify(facts));
`,
  );
  // Nobody reads what `script` copies from the terminal, so it stops copying, as a terminal under Ctrl-S.
  const terminal = spawn('script', ['-qec', `exec '${process.execPath}' '${program}'`, '/dev/null'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  context.after(() => terminal.kill('SIGKILL'));
  const deadlineMs = performance.now() + 30_000;
  while (!fs.existsSync(file)) {
    assert.ok(performance.now() < deadlineMs, 'waited 30 s for a process with a stopped terminal to end');
    await delay(20);
  }
  const facts = JSON.parse(fs.readFileSync(file, 'utf8'));
  assert.equal(facts.isTty, true);
  assert.ok(
    facts.bufferedBytes > 0 && facts.bufferedBytes <= 1024 * 1024,
    `held ${facts.bufferedBytes} bytes`,
  );
  assert.ok(facts.lines > 50_000, `dropped ${facts.lines} lines`);
});
