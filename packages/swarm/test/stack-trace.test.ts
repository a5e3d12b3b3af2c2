import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { runInThisContext } from 'node:vm';
import fc from 'fast-check';
import { SourceMaps } from '../dist/child/source-maps.js';
import { parseStack } from '../dist/child/stack-trace.js';
import type { Frame } from '../dist/dump.js';

const OWN = '/opt/swarm/dist/';

function only(line: string): Frame {
  const frames = parseStack(`Error: stack\n    ${line}`, OWN);
  assert.equal(frames.length, 1, line);
  return frames[0] as Frame;
}

describe('a line of a stack', () => {
  const cases: [string, Partial<Frame>][] = [
    [
      'at parse (/app/src/parse.js:10:5)',
      { function: 'parse', file: '/app/src/parse.js', line: 10, column: 5, owner: 'app', isAsync: false },
    ],
    ['at /app/a.js:1:2', { function: '', file: '/app/a.js', line: 1, column: 2, owner: 'app' }],
    ['at async run (file:///app/a%20b.mjs:3:4)', { function: 'run', file: '/app/a b.mjs', isAsync: true }],
    ['at async file:///app/a.mjs:3:4', { function: '', file: '/app/a.mjs', isAsync: true }],
    [
      'at async Promise.all (index 0)',
      { function: 'Promise.all', file: null, isAsync: true, owner: 'native' },
    ],
    ['at RegExp.test (<anonymous>)', { function: 'RegExp.test', file: null, line: null, owner: 'native' }],
    ['at Array.map (native)', { function: 'Array.map', file: null, owner: 'native' }],
    ['at new Thing (/app/a.js:1:2)', { function: 'new Thing', file: '/app/a.js' }],
    ['at Object.f [as g] (/app/a (b).js:1:2)', { function: 'Object.f [as g]', file: '/app/a (b).js' }],
    [
      'at eval (eval at run (/app/e.js:7:8), <anonymous>:1:2)',
      { function: 'eval', file: '/app/e.js', line: 7 },
    ],
    ['at process.x (node:internal/y:1:2)', { file: 'node:internal/y', owner: 'node' }],
    ['at f (/app/node_modules/joi/a.js:1:2)', { owner: 'module' }],
    ['at f (/opt/swarm/dist/child/workers.js:1:2)', { owner: 'module' }],
    ['at spin (wasm://wasm/1a2b:wasm-function[0]:0x1d)', { function: 'spin', owner: 'native', line: null }],
    [
      'at wasm://wasm/1a2b:wasm-function[0]:0x1d',
      { function: '', file: 'wasm://wasm/1a2b:wasm-function[0]:0x1d' },
    ],
    ['at evalmachine.<anonymous>:1:5', { file: 'evalmachine.<anonymous>', line: 1, owner: 'app' }],
    ['at load (/app/a.ts?v=1:1:2)', { file: '/app/a.ts?v=1', line: 1 }],
  ];
  for (const [line, expected] of cases) {
    it(`such as ${line}`, () => {
      const frame = only(line);
      for (const [name, value] of Object.entries(expected))
        assert.equal(frame[name as keyof Frame], value, name);
    });
  }

  it('is read as V8 writes it', () => {
    const stack = runInThisContext(
      '(function outer() { return [1].map(function inner() { return new Error("x").stack })[0] })()',
      {
        filename: '/app/real.js',
      },
    ) as string;
    const [inner, map, outer] = parseStack(stack, OWN);
    assert.deepEqual([inner?.function, inner?.file, inner?.line], ['inner', '/app/real.js', 1]);
    assert.deepEqual([map?.function, map?.owner], ['Array.map', 'native']);
    assert.equal(outer?.function, 'outer');
  });

  it('may be anything: nothing throws, and what is no frame is none', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 2_000 }), (text) => {
        for (const frame of parseStack(`Error: ${text}\n    at ${text}`, OWN))
          assert.ok(frame.function.length <= 301);
      }),
    );
    assert.deepEqual(parseStack('Error: at the disco', OWN), []);
  });
});

describe('source maps', () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'swarm-maps-'));
  });
  after(() => rm(directory, { recursive: true }));

  /** Generated line 3, column 10 is line 1, column 4 of the source. */
  const MAP = { version: 3, sources: ['../src/parse.ts'], names: [], mappings: ';;UAAI' };
  const frame = (file: string): Frame => ({
    function: 'parse',
    file,
    line: 3,
    column: 14,
    isAsync: false,
    owner: 'app',
  });
  const mapped = (file: string): Frame => new SourceMaps(OWN).toSource(frame(file));

  async function compiled(name: string, comment: string, map?: string): Promise<string> {
    const file = join(directory, name);
    await writeFile(file, `1;\n2;\n          parse();\n${comment}`);
    if (map !== undefined) await writeFile(`${file}.map`, map);
    return file;
  }

  it('that lie beside a file lead to its source', async () => {
    const file = await compiled('a.js', '//# sourceMappingURL=a.js.map\n', JSON.stringify(MAP));
    const { file: source, line, column, owner } = mapped(file);
    assert.deepEqual([source, line, column, owner], [join(directory, '../src/parse.ts'), 1, 5, 'app']);
  });

  it('that are part of a file do so too', async () => {
    const filler = { ...MAP, sourcesContent: ['x'.repeat(10_000)] };
    const inline = Buffer.from(JSON.stringify(filler)).toString('base64');
    for (const text of [inline, Buffer.from(JSON.stringify(MAP)).toString('base64')]) {
      const url = `data:application/json;charset=utf-8;base64,${text}`;
      const file = await compiled(`b${text.length}.js`, `//# sourceMappingURL=${url}`);
      assert.equal(mapped(file).file, join(directory, '../src/parse.ts'));
    }
  });

  it('of a bundler name sources by their path', async () => {
    const map = { ...MAP, sources: ['webpack://shop/./src/parse.ts'] };
    const file = await compiled('c.js', '//# sourceMappingURL=c.js.map', JSON.stringify(map));
    assert.equal(mapped(file).file, 'src/parse.ts');
  });

  it('that are broken or missing leave a frame as it is', async () => {
    const files = [
      await compiled('d.js', '//# sourceMappingURL=nowhere.js.map'),
      await compiled('e.js', '//# sourceMappingURL=e.js.map', '{"version":3'),
      await compiled('f.js', '//# sourceMappingURL=f.js.map', '{"version":3,"mappings":"!!"}'),
      await compiled('g.js', ''),
      join(directory, 'missing.js'),
      'node:internal/x',
      'relative.js',
    ];
    for (const file of files) assert.deepEqual(mapped(file), frame(file), file);
  });
});
