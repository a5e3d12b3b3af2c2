import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SwarmError } from '../dist/errors.js';
import { ordersOf } from '../dist/registry/orders.js';
import type { ChildRecord, ChildState, MasterRecord } from '../dist/registry/schema.js';
import { resolveTarget } from '../dist/registry/target.js';

interface Sketch {
  host: string;
  pid: number;
  stale?: boolean;
  children?: { slot: number; pid: number; state?: ChildState }[];
}

/** As much of a master as naming it takes. */
function master({ host, pid, stale = false, children = [] }: Sketch): MasterRecord {
  const record = {
    identity: `${host}:${pid}:aa${pid}`,
    host,
    pid,
    stale,
    children: children.map(({ slot, pid, state = 'up' }) => {
      return { identity: `${host}:${pid}:cc${pid}`, slot, pid, state } as ChildRecord;
    }),
  };
  return record as unknown as MasterRecord;
}

const WEB1 = master({
  host: 'web1',
  pid: 4000,
  children: [
    { slot: 0, pid: 4001 },
    { slot: 1, pid: 4002, state: 'backoff' },
  ],
});
const WEB2 = master({ host: 'web2', pid: 5000, children: [{ slot: 0, pid: 5001 }] });
const GONE = master({ host: 'web3', pid: 6000, stale: true, children: [{ slot: 0, pid: 6001 }] });

function named(masters: readonly MasterRecord[], word: string): (string | number)[] {
  return resolveTarget(masters, word).map(({ master, child }) => (child ? child.pid : master.host));
}

function refuses(code: string, message: RegExp, act: () => unknown): void {
  assert.throws(act, (error) => {
    assert.ok(error instanceof SwarmError, String(error));
    assert.equal(error.code, code);
    assert.equal(error.exitCode, 64);
    assert.match(error.message, message);
    return true;
  });
}

describe('a target', () => {
  it('is a master or a child, by identity or its beginning, pid, host, or slot', () => {
    const both = [WEB1, WEB2, GONE];
    assert.deepEqual(named(both, 'all'), ['web1', 'web2']);
    assert.deepEqual(named(both, 'web1'), ['web1']);
    assert.deepEqual(named(both, '5000'), ['web2']);
    assert.deepEqual(named(both, '4001'), [4001]);
    assert.deepEqual(named(both, 'web2:5001:cc5001'), [5001]);
    assert.deepEqual(named(both, 'web2:5001'), [5001]);
    assert.deepEqual(named([WEB1], '0'), [4001]);
    assert.deepEqual(named([WEB1, GONE], '0'), [4001], 'only one master runs');
  });

  it('is the child that has the seat, when two are in a slot', () => {
    const children = [
      { slot: 0, pid: 4001, state: 'stopping' },
      { slot: 0, pid: 4002, state: 'up' },
    ] as const;
    assert.deepEqual(named([master({ host: 'web1', pid: 4000, children: [...children] })], '0'), [4002]);
    const alone = [{ slot: 0, pid: 4001, state: 'starting' }] as const;
    assert.deepEqual(named([master({ host: 'web1', pid: 4000, children: [...alone] })], '0'), [4001]);
  });

  it('is refused when it names nobody, or several', () => {
    const no = (masters: MasterRecord[], word: string, message: RegExp): void =>
      refuses('SWARM_NO_TARGET', message, () => resolveTarget(masters, word));
    no([], 'all', /^no master runs in this namespace/);
    no([WEB1, WEB2], '0', /nobody here is called "0".*slots are numbered in each master/);
    no([WEB1, WEB2], 'web', /"web" names several: web1:4000:aa4000, web1:4001:cc4001.*give one of these/);
    no([WEB1], 'mail', /nobody here is called "mail": all, or an identity, a pid or a host/);
    no([WEB1], '', /nobody here is called ""/);
    const crowd = Array.from({ length: 9 }, (_, at) => master({ host: 'web1', pid: 4000 + at }));
    no(crowd, 'web1', /and 4 more; give one/);
  });

  it('is refused when it is stale, and says so', () => {
    for (const word of ['web3', '6000', 'web3:6000:aa6000']) {
      refuses('SWARM_NO_TARGET', /^web3:6000:aa6000 is stale: its process is gone, or/, () => {
        resolveTarget([WEB1, GONE], word);
      });
    }
    refuses('SWARM_NO_TARGET', /^the master of "6001", web3:6000:aa6000, is stale/, () => {
      resolveTarget([WEB1, GONE], '6001');
    });
    refuses('SWARM_NO_TARGET', /no master runs in this namespace; stale.*web3:6000/, () => {
      resolveTarget([GONE], 'all');
    });
  });
});

describe('an order', () => {
  it('goes to each master that is meant', () => {
    const orders = (command: Parameters<typeof ordersOf>[0]): unknown[] =>
      ordersOf(command, [WEB1, WEB2]).map(({ target, command }) => [target.master.host, command]);
    assert.deepEqual(orders({ type: 'roll' }), [
      ['web1', { type: 'roll' }],
      ['web2', { type: 'roll' }],
    ]);
    assert.deepEqual(orders({ type: 'stop', target: 'web2' }), [['web2', { type: 'stop', child: null }]]);
    const child = 'web1:4001:cc4001';
    assert.deepEqual(orders({ type: 'quiet', target: '4001' }), [['web1', { type: 'quiet', child }]]);
    assert.deepEqual(orders({ type: 'recycle', target: '4001' }), [['web1', { type: 'recycle', child }]]);
    assert.deepEqual(orders({ type: 'scale', target: 'web1', count: 3 }), [
      ['web1', { type: 'scale', group: null, count: 3 }],
    ]);
    assert.deepEqual(orders({ type: 'scale', target: 'web1', group: 'mail', count: 3 }), [
      ['web1', { type: 'scale', group: 'mail', count: 3 }],
    ]);
  });

  it('is refused where it makes no sense', () => {
    const no = (code: string, message: RegExp, command: Parameters<typeof ordersOf>[0]): void =>
      refuses(code, message, () => ordersOf(command, [WEB1]));
    no('SWARM_BAD_TARGET', /roll takes a master, and web1:4001:cc4001 is a child/, {
      type: 'roll',
      target: '4001',
    });
    no('SWARM_BAD_TARGET', /recycle takes a child, and web1:4000:aa4000 is a master/, {
      type: 'recycle',
      target: 'web1',
    });
    no('SWARM_BAD_TARGET', /scale takes a master and a number/, { type: 'scale', target: '4001', count: 2 });
    no('SWARM_BAD_TARGET', /nobody sits in slot 1 now \(backoff; web1:4002:cc4002 sat there last\)/, {
      type: 'stop',
      target: '1',
    });
    for (const count of [0, 513, 1.5, Number.NaN, '4' as unknown as number]) {
      no('SWARM_BAD_COUNT', /scale takes a whole number from 1 to 512/, {
        type: 'scale',
        target: 'web1',
        count,
      });
    }
  });
});
