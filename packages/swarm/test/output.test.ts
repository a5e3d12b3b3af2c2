import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import fc from 'fast-check';
import { forwardOutput, LastLines, LineSplitter, MAX_LINE_BYTES } from '../dist/process/output.js';

function splitAll(chunks: Iterable<Buffer>): string[] {
  const splitter = new LineSplitter();
  const lines: string[] = [];
  for (const chunk of chunks) lines.push(...splitter.feed(chunk));
  lines.push(...splitter.end());
  return lines;
}

function cutAt(bytes: Buffer, places: readonly number[]): Buffer[] {
  const cuts = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return cuts.slice(1).map((cut, index) => bytes.subarray(cuts[index], cut));
}

/** Lines as anybody would split them, for text without overlong lines. */
function expectedLines(text: string): string[] {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines.map((line) => line.replace(/\r$/, ''));
}

const text = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'grapheme' }),
      fc.constantFrom('\n', '\r\n', '\r', '\t', '\u001b[31m', '\u0000'),
    ),
  )
  .map((parts) => parts.join(''));

test('any chunking of any text gives the lines of the text', () => {
  fc.assert(
    fc.property(text, fc.array(fc.nat(), { maxLength: 20 }), (whole, places) => {
      assert.deepEqual(splitAll(cutAt(Buffer.from(whole), places)), expectedLines(whole));
    }),
  );
});

test('any chunking of any bytes gives the same lines, with U+FFFD for what is no UTF-8', () => {
  const bytes = fc
    .array(
      fc.oneof(
        fc.uint8Array({ maxLength: 40 }),
        fc.constant(Uint8Array.of(0x0a)),
        fc.constant(Uint8Array.of(0xe2, 0x82)),
      ),
    )
    .map((parts) => Buffer.concat(parts));
  fc.assert(
    fc.property(bytes, fc.array(fc.nat(), { maxLength: 20 }), (whole, places) => {
      assert.deepEqual(splitAll(cutAt(whole, places)), expectedLines(whole.toString('utf8')));
    }),
  );
});

test('any chunking of long lines cuts them at the same place, never inside a character', () => {
  const unit = fc.constantFrom('a', 'é', '€', '😀');
  const longLine = fc.tuple(
    unit,
    fc.integer({ min: MAX_LINE_BYTES - 9, max: MAX_LINE_BYTES + 9 }),
    fc.constantFrom('', '\r'),
  );
  fc.assert(
    fc.property(
      fc.array(longLine, { maxLength: 3 }),
      fc.array(fc.nat(), { maxLength: 6 }),
      (lines, places) => {
        const whole = lines
          .map(([char, bytes, end]) => char.repeat(Math.ceil(bytes / Buffer.byteLength(char))) + end)
          .join('\n');
        const got = splitAll(cutAt(Buffer.from(`${whole}\n`), places));
        assert.deepEqual(got, splitAll([Buffer.from(`${whole}\n`)]));
        for (const line of got) {
          assert.ok(!line.includes('\ufffd'), 'a character was cut');
          assert.ok(Buffer.byteLength(line.replace(/ … \[cut, \d+ bytes more\]$/, '')) <= MAX_LINE_BYTES);
        }
      },
    ),
    { numRuns: 50 },
  );
});

test('a line at the limit stays whole, one above it says how much is missing', () => {
  const limit = 'x'.repeat(MAX_LINE_BYTES);
  assert.deepEqual(splitAll([Buffer.from(`${limit}\r\n${limit}yz\n`)]), [
    limit,
    `${limit} … [cut, 2 bytes more]`,
  ]);
});

test('a line of 50 MB is cut, in bounded memory', () => {
  const splitter = new LineSplitter();
  const chunk = Buffer.alloc(64 * 1024, 'x');
  const before = process.memoryUsage();
  for (let fed = 0; fed < 50e6; fed += chunk.length) assert.deepEqual(splitter.feed(chunk), []);
  const after = process.memoryUsage();
  const grownBytes = after.heapUsed + after.external - before.heapUsed - before.external;
  assert.ok(grownBytes < 4e6, `grew by ${grownBytes} bytes`);
  const [line, ...others] = splitter.feed(Buffer.from('\nnext\n'));
  assert.match(line ?? '', /^x{65536} … \[cut, 499\d{5} bytes more\]$/);
  assert.deepEqual(others, ['next']);
});

test('forwardOutput gives each line once, the unfinished last one included', async () => {
  for (const finish of ['end', 'destroy'] as const) {
    const stream = new PassThrough();
    const lines: string[] = [];
    forwardOutput(stream, (line) => lines.push(line));
    stream.write('one\ntw');
    stream.write('o\nthree');
    await new Promise((resolve) => setImmediate(resolve));
    const closed = new Promise((resolve) => stream.on('close', resolve));
    if (finish === 'end') stream.end();
    else stream.destroy(new Error('read failed'));
    await closed;
    assert.deepEqual(lines, ['one', 'two', 'three'], finish);
  }
});

test('LastLines keeps the newest lines within its bounds', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'grapheme', maxLength: 30 })), (pushed) => {
      const last = new LastLines(5, 40);
      for (const line of pushed) last.push(line);
      const kept = last.lines();
      assert.ok(kept.length <= 5);
      assert.ok(kept.reduce((sum, line) => sum + Buffer.byteLength(line), 0) <= 40);
      for (const [index, line] of kept.entries()) {
        const original = pushed[pushed.length - kept.length + index] ?? '';
        assert.ok(original === line || (Buffer.byteLength(original) > 40 && original.startsWith(line)));
      }
      if (pushed.length > 0) assert.ok(kept.length > 0);
    }),
  );
});
