/** What `swarm config --of` makes of what a master has published. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { describeMaster, refuseWithMaster } from '../dist/commands/master-config.js';
import type { MasterInfo } from '../dist/registry/schema.js';

const GROUP = {
  ...{
    name: 'default',
    count: 2,
    concurrency: null,
    queues: [
      { name: 'a', weight: 4 },
      { name: 'b', weight: null },
    ],
  },
  ...{ maxMemoryBytes: 512_000_000, maxMemoryHardBytes: 768_000_000, maxMemoryHardIsGiven: false },
  ...{ maxJobs: null, maxAgeMs: 3_600_000, env: [] as string[] },
};
const CONFIG = {
  groups: [GROUP],
  ...{ redis: 'redis://***@db', redisTlsNoVerify: false, prefix: 'bull', namespace: 'shop' },
  ...{
    drainTimeoutMs: 7_000,
    stuckKillAfterMs: null,
    quarantineAfter: null,
    jobTimeoutMs: null,
    watchdog: true,
  },
};

function master(config: Record<string, unknown>, count = 2) {
  return { count, info: { app: '/srv/worker.js', config } as unknown as MasterInfo };
}

function values(config: Record<string, unknown>, count?: number): Record<string, unknown> {
  const shown = Object.entries(describeMaster(master(config, count)));
  return Object.fromEntries(shown.map(([name, { value }]) => [name, value]));
}

describe('the configuration of a running master', () => {
  it('has the names and forms of options', () => {
    assert.deepEqual(values(CONFIG), {
      app: '/srv/worker.js',
      count: 2,
      concurrency: null,
      watchdog: true,
      maxMemory: '512MB',
      maxMemoryHard: '768MB',
      maxJobs: null,
      maxAge: '1h',
      queues: ['a,4', 'b'],
      prefix: 'bull',
      redis: 'redis://***@db',
      redisTlsNoVerify: false,
      namespace: 'shop',
      timeout: '7s',
      stuckKillAfter: 'off',
      jobTimeout: null,
      quarantineAfter: 'off',
    });
  });

  it('says the count of now', () => {
    assert.deepEqual(describeMaster(master(CONFIG)).count, { value: 2, origin: 'at its start' });
    assert.deepEqual(describeMaster(master(CONFIG, 5)).count, { value: 5, origin: 'now' });
  });

  it('has groups by name, and of their variables the names', () => {
    const mail = { ...GROUP, name: 'mail', count: 1, env: ['API_KEY'] };
    const { groups, count, queues } = values({ ...CONFIG, groups: [GROUP, mail] }, 3);
    assert.deepEqual([count, queues], [undefined, undefined]);
    const shared = { queues: ['a,4', 'b'], maxMemory: '512MB', maxMemoryHard: '768MB', maxAge: '1h' };
    assert.deepEqual(groups, {
      default: { count: 2, ...shared, env: {} },
      mail: { count: 1, ...shared, env: { API_KEY: '***' } },
    });
  });

  it('is what there is, whatever another version has written', () => {
    assert.deepEqual(values({}, 0), { app: '/srv/worker.js' });
    const odd = {
      groups: [null, 'x', { name: 'default', count: 'many', queues: 'all' }],
      drainTimeoutMs: [],
    };
    assert.doesNotThrow(() => values(odd));
    assert.equal(values({ groups: [{ name: 'default', queues: 'all' }] }).queues, 'all');
  });
});

describe('what is given beside a master', () => {
  it('says where the registry is, and nothing else', () => {
    refuseWithMaster({ app: undefined, flags: { redis: 'redis://h', namespace: 'x', config: 'f' } });
    assert.throws(() => refuseWithMaster({ app: 'worker.js', flags: {} }), /SWARM_BAD_OF|got worker.js/);
    assert.throws(
      () => refuseWithMaster({ app: undefined, flags: { watchdog: 'off' } }),
      /got --no-watchdog/,
    );
  });
});
