/** Why a child never became ready, for the person whose app it is. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { bootError, neverWorked, whyEnded } from '../dist/master/boot-error.js';
import { LastLines } from '../dist/process/output.js';
import type { WorkerInfo } from '../dist/protocol.js';

const CONFIG = { app: './worker.js', bootTimeoutMs: 60_000, groups: [] };
const worker = { queue: 'mail', prefix: 'bull', tokenPrefix: 'a:', redisId: 'b' } as WorkerInfo;
const TROUBLE = 'the Worker of mail: WRONGPASS invalid username-password pair or user is disabled.';

function child(lines: readonly string[] = []) {
  const stderr = new LastLines();
  for (const line of lines) stderr.push(line);
  const exit = { code: null, signal: 'SIGKILL' as const };
  const known = { uncaught: null, exit, group: 'default', readyAtMs: null, stderr };
  return { ...known, workers: [worker], bootTrouble: TROUBLE };
}

describe('a child that never became ready', () => {
  it('is explained by what its Workers said of their connections, and by the last of its stderr', () => {
    const text = bootError(child(['1', '2', '3', '4', '5', '6']), 'boot-timeout', CONFIG);
    assert.match(text, /its Workers have no connection \(the Worker of mail: WRONGPASS invalid/);
    assert.match(text, /The last of its stderr:\n {2}2\n {2}3\n {2}4\n {2}5\n {2}6$/);
    assert.match(
      whyEnded(child(['1']), 'boot-timeout', CONFIG),
      /^\.\/worker\.js was not ready .*WRONGPASS.*[^:\n]$/,
    );
  });

  it('is explained in the same way if it ended itself', () => {
    const ended = { ...child(['no']), exit: { code: 3, signal: null } };
    assert.match(
      bootError(ended, null, CONFIG),
      /exit code 3 before .* without an error \(.*WRONGPASS.*\); .*\n {2}no$/s,
    );
  });

  it('is asked whether it is the right file if it ended without a Worker and without an error', () => {
    const ended = { ...child(), workers: [], bootTrouble: null, exit: { code: 0, signal: null } };
    assert.equal(
      bootError(ended, null, CONFIG),
      './worker.js ended itself with exit code 0, without starting a BullMQ Worker: ' +
        'is this the file that makes your new Worker(…)?',
    );
  });

  it('has never worked if it ended by itself, without an error, and no Worker was ever seen', () => {
    const ended = { readyAtMs: null, hadWorker: false, uncaught: null, exit: { code: 0, signal: null } };
    const said = { type: 'uncaught', phase: 'boot', message: 'ended', stack: '' } as const;
    assert.equal(neverWorked(ended), true);
    assert.equal(neverWorked({ ...ended, hadWorker: true }), false);
    assert.equal(neverWorked({ ...ended, readyAtMs: 1 }), false);
    assert.equal(neverWorked({ ...ended, uncaught: said }), false);
    const failed = { code: 1, signal: null };
    assert.equal(neverWorked({ ...ended, exit: failed }), false);
    assert.equal(neverWorked({ ...ended, exit: failed, uncaught: { ...said, ranToEnd: true } }), true);
    assert.equal(neverWorked({ ...ended, exit: { code: null, signal: 'SIGKILL' } }), false);
  });

  it('is explained by the app’s own error before all else', () => {
    const uncaught = { type: 'uncaught', phase: 'boot', message: 'no', stack: 'Error: no' } as const;
    assert.equal(bootError({ ...child(), uncaught }, null, CONFIG), 'Error: no');
  });
});
