import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { LineReader } from '../dist/line-reader.js';
import { parseWatchdogMessage, parseWatchdogOrder } from '../dist/watchdog-protocol.js';

describe('the pipe of a watchdog', () => {
  it('brings looks', () => {
    const look = { silentMs: 1_200, blockedMs: 1_000, kind: 'waiting' } as const;
    assert.deepEqual(parseWatchdogMessage(JSON.stringify({ type: 'look', look, more: 1 })), {
      type: 'look',
      look,
    });
    const turns = { silentMs: 0, blockedMs: 0, kind: null };
    assert.deepEqual(parseWatchdogMessage(JSON.stringify({ type: 'look', look: turns })), {
      type: 'look',
      look: turns,
    });
  });

  it('brings dumps, jobs, returns and troubles', () => {
    const findings = { kind: 'native' };
    for (const message of [
      { type: 'dump', dumpId: 'a', findings },
      { type: 'jobs', jobs: [{ queue: 'mail', id: '1', name: 'welcome', startedAtMs: 1_700_000_000_000 }] },
      { type: 'returned', findings },
      { type: 'trouble', message: 'no' },
    ])
      assert.deepEqual(parseWatchdogMessage(JSON.stringify(message)), message);
    assert.deepEqual(parseWatchdogOrder('{"type":"dump","dumpId":"a"}'), { type: 'dump', dumpId: 'a' });
  });

  it('refuses everything else', () => {
    const texts = [
      '',
      'x',
      'null',
      '[]',
      '{}',
      '{"type":"look"}',
      '{"type":"look","look":{"silentMs":-1,"blockedMs":0,"kind":null}}',
      '{"type":"look","look":{"silentMs":1,"blockedMs":"2","kind":null}}',
      '{"type":"look","look":{"silentMs":1,"blockedMs":0,"kind":"tired"}}',
      '{"type":"constructor"}',
      '{"type":"jobs"}',
      '{"type":"jobs","jobs":[{"queue":"mail","id":7,"name":"welcome","startedAtMs":1}]}',
      '{"type":"dump"}',
      '{"type":"trouble"}',
    ];
    for (const text of texts) assert.equal(parseWatchdogMessage(text), null, text);
    for (const text of texts) assert.equal(parseWatchdogOrder(text), null, text);
    fc.assert(fc.property(fc.json(), (text) => parseWatchdogMessage(text) === null));
  });

  it('is cut into lines, however it comes', () => {
    const lines = fc.array(fc.string().map((text) => text.replaceAll('\n', '')));
    fc.assert(
      fc.property(lines, fc.integer({ min: 1, max: 9 }), (texts, chunkBytes) => {
        const bytes = Buffer.from(texts.map((text) => `${text}\n`).join(''));
        const reader = new LineReader(1_000);
        const got: (string | null)[] = [];
        for (let at = 0; at < bytes.length; at += chunkBytes)
          got.push(...reader.feed(bytes.subarray(at, at + chunkBytes)));
        assert.deepEqual(
          got,
          texts.map((text) => Buffer.from(text).toString()),
        );
      }),
    );
  });

  it('loses a line that is too long, and nothing else', () => {
    const reader = new LineReader(10);
    assert.deepEqual(reader.feed(Buffer.from('one\n01234567')), ['one']);
    assert.deepEqual(reader.feed(Buffer.from('890123456789')), []);
    assert.deepEqual(reader.feed(Buffer.from('0\ntwo\n')), [null, 'two']);
  });
});
