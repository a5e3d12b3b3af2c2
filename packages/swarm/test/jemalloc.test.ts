import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { elfTarget, findJemalloc, parseLdconfig, preloadWith } from '../dist/process/jemalloc.js';

const directory = mkdtempSync(join(tmpdir(), 'swarm-elf-'));
after(() => rmSync(directory, { recursive: true, force: true }));

describe('jemalloc', () => {
  it('is found, and fits this node; or the package to install is named', () => {
    try {
      assert.equal(elfTarget(findJemalloc()), elfTarget(process.execPath));
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'SWARM_NO_JEMALLOC');
      assert.match((error as Error).message, /libjemalloc2|Linux alone/);
    }
  });

  it('that is nowhere is an error with the name of the package', () => {
    assert.throws(
      () => findJemalloc([join(directory, 'nothing')]),
      (error) => {
        assert.equal((error as { code?: string }).code, 'SWARM_NO_JEMALLOC');
        assert.match((error as Error).message, /apt-get install libjemalloc2|Linux alone/);
        return true;
      },
    );
  });

  it('is known to ldconfig by its whole name', () => {
    const text = `1200 libs found in cache
\tlibjemalloc.so.2 (libc6,x86-64) => /lib/x86_64-linux-gnu/libjemalloc.so.2
\tlibjemalloc.so.2 (libc6) => /lib/i386-linux-gnu/libjemalloc.so.2
\tlibjemalloc.so.1 (libc6) => /lib/old/libjemalloc.so.1
`;
    assert.deepEqual(parseLdconfig(text), [
      '/lib/x86_64-linux-gnu/libjemalloc.so.2',
      '/lib/i386-linux-gnu/libjemalloc.so.2',
    ]);
    assert.deepEqual(parseLdconfig(''), []);
  });

  it('is no file that the linker would refuse', () => {
    const text = join(directory, 'text');
    writeFileSync(text, 'this is long enough, and no library at all');
    const short = join(directory, 'short');
    writeFileSync(short, '\x7fELF');
    for (const path of [text, short, directory, join(directory, 'nothing')])
      assert.equal(elfTarget(path), null);
    const other = Buffer.alloc(64);
    other.write('\x7fELF\x01\x01\x01', 'latin1');
    other[18] = 3;
    const foreign = join(directory, 'foreign');
    writeFileSync(foreign, other);
    assert.equal(elfTarget(foreign), '1 1 3 0');
    assert.notEqual(elfTarget(foreign), elfTarget(process.execPath));
  });

  it('comes before what is preloaded already', () => {
    assert.equal(preloadWith('/lib/j.so', undefined), '/lib/j.so');
    assert.equal(preloadWith('/lib/j.so', ''), '/lib/j.so');
    assert.equal(preloadWith('/lib/j.so', '/lib/a.so:/lib/b.so'), '/lib/j.so:/lib/a.so:/lib/b.so');
  });
});
