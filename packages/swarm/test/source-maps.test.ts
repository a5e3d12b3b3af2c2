import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';

/** As child/watchdog.ts has them. */
const LIMITS = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 2, stackSizeMb: 1 };

/** In a thread such as dumps are made in: the first frame of each file, in terms of its source. */
function mapped(files: readonly string[]): Promise<{ file: string; line: number }[]> {
  const module = new URL('../dist/child/source-maps.js', import.meta.url).href;
  const script = `
    const { parentPort, workerData } = require('node:worker_threads');
    import(${JSON.stringify(module)}).then(({ SourceMaps }) => {
      const maps = new SourceMaps('/nowhere');
      const frames = workerData.map((file) => maps.toSource({ file, line: 1, column: 1, owner: 'app', function: 'f' }));
      parentPort.postMessage(frames.map(({ file, line }) => ({ file, line })));
    });`;
  return new Promise((resolve, reject) => {
    const thread = new Worker(script, { eval: true, workerData: files, resourceLimits: LIMITS });
    thread.once('message', resolve);
    thread.once('error', reject);
  });
}

describe('source maps in the watchdog thread', () => {
  it('are read as long as they fit it, however many and large they are', async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'swarm-maps-'));
    t.after(() => rmSync(directory, { recursive: true }));
    const write = (name: string, lines: number): string => {
      const file = join(directory, `${name}.js`);
      writeFileSync(file, `f();\n//# sourceMappingURL=${name}.js.map\n`);
      const map = { version: 3, sources: [`${name}.ts`], names: [], mappings: 'AAKA;'.repeat(lines) };
      writeFileSync(`${file}.map`, JSON.stringify(map));
      return file;
    };
    const small = Array.from({ length: 20 }, (_, at) => write(`small${at}`, 10));
    const middling = Array.from({ length: 10 }, (_, at) => write(`middling${at}`, 60_000));
    const large = write('large', 1_100_000);
    const frames = await mapped([large, ...small, ...middling]);
    assert.deepEqual(frames[0], { file: large, line: 1 }, 'too large: it stays as it is');
    for (const [at, frame] of frames.slice(1, 21).entries())
      assert.deepEqual(frame, { file: join(directory, `small${at}.ts`), line: 6 });
    assert.deepEqual(frames[21], { file: join(directory, 'middling0.ts'), line: 6 });
    assert.deepEqual(frames.at(-1), { file: middling[9], line: 1 });
  });
});
