import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { WriteBatches } from '../dist/fetch/write-batches.js';

describe('scripts that are sent at the same moment', () => {
  let log: string[];
  const stream = (name: string) => ({
    cork: () => log.push(`${name} held`),
    uncork: () => log.push(`${name} written`),
  });
  beforeEach(() => {
    log = [];
  });

  it('are written together, so many at most', async () => {
    const only = stream('a');
    const batches = new WriteBatches(() => only, 2);
    for (let sent = 0; sent < 3; sent += 1) {
      batches.join();
      log.push('sent');
    }
    assert.deepEqual(log, ['a held', 'sent', 'sent', 'a written', 'a held', 'sent']);
    await Promise.resolve();
    assert.equal(log.at(-1), 'a written', 'nobody waits for more to come');
    await Promise.resolve();
    assert.equal(log.length, 7);
  });

  it('are written at once when a processor is about to run', () => {
    const only = stream('a');
    const batches = new WriteBatches(() => only, 20);
    batches.join();
    batches.flush();
    batches.flush();
    assert.deepEqual(log, ['a held', 'a written']);
  });

  it('are not held where only one may come, nor without a connection', () => {
    new WriteBatches(() => stream('a'), 1).join();
    new WriteBatches(() => undefined, 20).join();
    assert.deepEqual(log, []);
  });

  it('leave nothing held on a connection that was replaced', async () => {
    let current = stream('a');
    const batches = new WriteBatches(() => current, 20);
    batches.join();
    current = stream('b');
    batches.join();
    await Promise.resolve();
    batches.join();
    await Promise.resolve();
    assert.deepEqual(log, ['a held', 'a written', 'b held', 'b written']);
  });
});
