import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Watchdogs } from '../dist/master/watchdogs.js';
import type { ChildHandle } from '../dist/process/child-handle.js';
import type { SupervisorEvent } from '../dist/supervisor/events.js';

describe('a watchdog that has ended', () => {
  it('is said once, and its silence is not taken for a block', () => {
    const events: SupervisorEvent[] = [];
    const ended: string[] = [];
    const watchdog = { hasEnded: false };
    const child = { slot: 0, identity: 'a', pid: process.pid, exit: null, workers: [], watchdog };
    const handle = child as unknown as ChildHandle;
    const watchdogs = new Watchdogs({
      children: () => [handle],
      ask: (event) => events.push(event),
      onEnded: ({ identity }) => ended.push(identity),
    });
    watchdogs.hear(handle, { kind: 'running', silentMs: 2_000, blockedMs: 2_000 });
    watchdog.hasEnded = true;
    watchdogs.look();
    assert.deepEqual(ended, [], 'its process may be about to end as well');
    for (let look = 0; look < 5; look += 1) watchdogs.look();
    assert.deepEqual(ended, ['a']);
    assert.deepEqual(
      events.map(({ type }) => type),
      ['childBlocked', 'childUnblocked'],
    );
  });
});
