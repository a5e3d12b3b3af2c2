/** What `defineApp` refuses where it is written. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { AppOptions } from '../dist/app.js';
import { checkQueues } from '../dist/app-check.js';

const process = (): null => null;
const limit = { openGate: () => null };

/** As a program without types writes it. */
function check(options: unknown): void {
  checkQueues(options as AppOptions);
}

function refusal(options: unknown): string {
  try {
    check(options);
  } catch (error) {
    assert.ok(error instanceof TypeError);
    return error.message;
  }
  return 'accepted';
}

describe('what an app defines', () => {
  it('may have every key there is', () => {
    const shared = { weight: 2, maxActive: 1, limit, worker: { drainDelay: 1 }, jobTimeoutMs: 'off' };
    check({
      queues: {
        a: process,
        b: { process, ...shared },
        c: { jobs: { each: process, other: { process, limit } }, ...shared },
      },
      worker: {},
      boot: () => {},
    });
  });

  it('has no key that nobody knows, and the one that was meant is named', () => {
    assert.equal(
      refusal({ queues: { m: { process, wieght: 2 } } }),
      'defineApp(): queue "m" has an unknown key "wieght": did you mean weight?',
    );
    assert.equal(
      refusal({ queues: { m: { proces: process } } }),
      'defineApp(): queue "m" has an unknown key "proces": did you mean process?',
    );
    assert.equal(
      refusal({ queues: { m: { jobs: { send: { process, limits: limit } } } } }),
      'defineApp(): job "send" of queue "m" has an unknown key "limits": did you mean limit?',
    );
    assert.equal(
      refusal({ queues: { m: process }, bot: () => {} }),
      'defineApp(): the app has an unknown key "bot": did you mean boot?',
    );
    assert.equal(
      refusal({ queues: { m: process }, connection: {} }),
      'defineApp(): the app has an unknown key "connection", it takes queues, worker, boot',
    );
  });

  it('needs a queue, and a processor in each', () => {
    assert.match(refusal(undefined), /got no queue$/);
    assert.match(refusal({ queues: {} }), /got no queue$/);
    assert.match(refusal({ queues: { m: {} } }), /queue "m" takes a function/);
    assert.match(refusal({ queues: { m: { jobs: { a: 1 } } } }), /queue "m" takes a function/);
  });
});
