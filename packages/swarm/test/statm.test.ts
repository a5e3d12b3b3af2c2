import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { pageBytesIn, parseStatm, Statm } from '../dist/statm.js';

const skip = process.platform !== 'linux' && 'there is no /proc';

describe('statm', () => {
  it('is read in pages', () => {
    const parse = (text: string) => parseStatm(Buffer.from(text), 4_096);
    const size = { rssBytes: 447 * 4_096, anonymousBytes: 29 * 4_096 };
    assert.deepEqual(parse('765 447 418 5 0 123 0\n'), size);
    for (const text of ['', '\n', '1 2', '1 2 3', '1 x 3 4', '1 -2 3 4'])
      assert.equal(parse(text), null, text);
  });

  it('has pages as large as the kernel says', () => {
    const auxv = new BigUint64Array([33n, 1n, 6n, 65_536n, 0n, 0n]);
    assert.equal(pageBytesIn(new Uint8Array(auxv.buffer)), 65_536);
    assert.equal(pageBytesIn(new Uint8Array(0)), null);
    assert.equal(pageBytesIn(new Uint8Array(5)), null);
  });

  it('grows with the process, as RSS does', { skip }, () => {
    const statm = new Statm('self');
    const before = statm.read();
    const ballast = Buffer.alloc(30e6, 1);
    const after = statm.read();
    statm.close();
    assert.ok(before && after);
    assert.equal(ballast.length, 30e6);
    for (const growth of [after.rssBytes - before.rssBytes, after.anonymousBytes - before.anonymousBytes]) {
      assert.ok(growth > 28e6 && growth < 40e6, `grew by ${growth}`);
    }
    assert.ok(Math.abs(after.rssBytes - process.memoryUsage.rss()) < 5e6);
  });

  it('is that of one process, and of none when that is gone', { skip }, async () => {
    const child = spawn(process.execPath, ['-e', 'console.log("up"); setInterval(() => {}, 1e6)'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    const statm = new Statm(child.pid as number);
    assert.ok((statm.read()?.rssBytes ?? 0) > 20e6);
    child.kill('SIGKILL');
    await once(child, 'exit');
    assert.equal(statm.read(), null);
    statm.close();
    assert.throws(() => new Statm(child.pid as number));
  });
});
