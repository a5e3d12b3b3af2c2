import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { jsonText } from '../dist/commands/screen.js';
import { type Column, formatTable } from '../dist/commands/table.js';
import { cellWidth, cutText, flowText, safeText } from '../dist/commands/terminal-text.js';

const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom(
    '\u001b[2J',
    'a\nb',
    '\u202egnp.exe',
    '日本語のジョブ',
    '👩‍👩‍👧',
    'é',
    '\ud800',
    '\u009b31m',
    'x'.repeat(200),
  ),
);
const column: fc.Arbitrary<Column> = fc.record(
  {
    title: fc.stringMatching(/^[A-Z%]{1,10}$/),
    shortTitle: fc.stringMatching(/^[A-Z]{1,3}$/),
    align: fc.constantFrom('left', 'right'),
    cutTo: fc.integer({ min: 1, max: 8 }),
    dropOrder: fc.integer({ min: 1, max: 9 }),
  },
  { requiredKeys: ['title'] },
) as fc.Arbitrary<Column>;

describe('formatTable', () => {
  it('fits any width, one line a row, and lets nothing through that a terminal obeys', () => {
    fc.assert(
      fc.property(
        fc.array(column, { minLength: 1, maxLength: 14 }),
        fc.array(fc.array(anyText, { maxLength: 14 }), { maxLength: 6 }),
        fc.integer({ min: 1, max: 200 }),
        (columns, rows, width) => {
          const lines = formatTable(columns, rows, width);
          assert.equal(lines.length, rows.length + 1);
          for (const line of lines) {
            assert.ok(cellWidth(line) <= width, `${cellWidth(line)} > ${width}: ${line}`);
            assert.doesNotMatch(line, /[\p{C}\p{Zl}\p{Zp}]/u);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  const columns: Column[] = [
    { title: 'NAME', cutTo: 6 },
    { title: 'RESTARTS', shortTitle: 'RST', align: 'right' },
    { title: 'LAG', align: 'right', dropOrder: 1 },
  ];
  const rows = [['welcome-mail', '0', '12ms']];

  it('gives up gaps, then titles, then cut cells, then columns', () => {
    assert.deepEqual(formatTable(columns, rows, 80), [
      'NAME          RESTARTS   LAG',
      'welcome-mail         0  12ms',
    ]);
    assert.deepEqual(formatTable(columns, rows, 26), [
      'NAME         RESTARTS  LAG',
      'welcome-mail        0 12ms',
    ]);
    assert.deepEqual(formatTable(columns, rows, 21), ['NAME         RST  LAG', 'welcome-mail   0 12ms']);
    assert.deepEqual(formatTable(columns, rows, 17), ['NAME     RST  LAG', 'welcome…   0 12ms']);
    assert.deepEqual(formatTable(columns, rows, 14), ['NAME       RST', 'welcome-m…   0']);
  });
});

describe('terminal text', () => {
  it('writes out what is unsafe and leaves the rest', () => {
    assert.equal(safeText('a\nb\t\u001b[31m\u202e日本é'), 'a\\nb\\t\\u{1b}[31m\\u{202e}日本é');
  });

  it('cuts to the cells there are', () => {
    assert.equal(cutText('日本語', 5), '日本…');
    assert.equal(cutText('日本語', 4), '日…');
    assert.equal(cutText('日本語', 6), '日本語');
    fc.assert(
      fc.property(anyText, fc.integer({ min: 0, max: 60 }), (text, cells) => {
        const safe = safeText(text);
        assert.ok(cellWidth(cutText(safe, cells)) <= cells);
      }),
    );
  });

  it('flows parts over lines', () => {
    assert.deepEqual(flowText(['aaaa', '', 'bbbb', 'cccc'], 10), ['aaaa  bbbb', '    cccc']);
  });

  it('prints JSON that means the same and that a terminal does not obey', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const json = jsonText({ text });
        assert.deepEqual(JSON.parse(json), { text });
        assert.doesNotMatch(json.replaceAll('\n', ''), /[\p{Cc}\u200b-\u200f\u2028-\u202e\u2066-\u2069]/u);
      }),
    );
  });
});
