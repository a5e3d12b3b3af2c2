/** What is told of queues: from a registry, on the terminal, as metrics. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { queuesReport } from '../dist/commands/queues.js';
import { queueMetrics } from '../dist/http/queue-metrics.js';
import { type QueueLag, servedQueues } from '../dist/registry/queues.js';
import type { RegistrySnapshot } from '../dist/registry/reader.js';
import type { ChildRecord, WorkerRecord } from '../dist/registry/schema.js';

function worker(queue: string, more: Partial<WorkerRecord> = {}): WorkerRecord {
  return { queue, prefix: 'bull', tokenPrefix: `${queue}:`, redisId: 'here', concurrency: 10, ...more };
}

function snapshot(
  masters: { stale?: boolean; children: Partial<ChildRecord>[] }[],
  redisId: string | null = 'here',
): RegistrySnapshot {
  const whole = masters.map(({ stale = false, children }) => ({
    stale,
    info: { redisId },
    children: children.map((child) => ({ state: 'up', concurrency: 10, ...child })),
  }));
  return { masters: whole, redisTimeMs: 0, warnings: [] } as unknown as RegistrySnapshot;
}

describe('queues that are served', () => {
  it('add up over children and masters, and what a child began is shared among them', () => {
    const children = [
      { workers: [worker('mail', { started: 30 }), worker('reports', { started: 10 })] },
      { workers: [worker('mail', { started: 30 }), worker('reports', { started: 30 })] },
    ];
    const [mail, reports, ...others] = servedQueues(snapshot([{ children }, { children: [] }]));
    assert.deepEqual(others, []);
    assert.deepEqual(
      [mail?.queue, mail?.children, mail?.concurrency, mail?.started, mail?.share],
      ['mail', 2, 20, 60, 0.6],
    );
    assert.deepEqual([reports?.queue, reports?.share], ['reports', 0.4]);
  });

  it('are none of masters that are gone, nor of slots where nobody sits', () => {
    const children = [{ workers: [worker('mail')] }];
    assert.deepEqual(servedQueues(snapshot([{ stale: true, children }])), []);
    const waiting = [{ state: 'backoff' as const, workers: [worker('mail')] }];
    assert.deepEqual(servedQueues(snapshot([{ children: waiting }])), []);
  });

  it('of several Workers for one queue are no more places than the child has', () => {
    const children = [{ concurrency: 15, workers: [worker('mail'), worker('mail')] }];
    const [mail] = servedQueues(snapshot([{ children }]));
    assert.deepEqual([mail?.children, mail?.concurrency, mail?.share], [1, 15, null]);
  });

  it('are told apart by prefix and Redis', () => {
    const workers = [
      worker('mail'),
      worker('mail', { prefix: 'other' }),
      worker('mail', { redisId: 'there' }),
    ];
    const served = servedQueues(snapshot([{ children: [{ workers }] }]));
    assert.deepEqual(
      served.map(({ prefix, redisId, isHere }) => [prefix, redisId, isHere]),
      [
        ['bull', 'here', true],
        ['bull', 'there', false],
        ['other', 'here', true],
      ],
    );
  });
});

const LAG: QueueLag = {
  queue: 'mail',
  prefix: 'bull',
  redisId: 'here',
  waiting: 12,
  active: 3,
  delayed: 1,
  failed: 7,
  oldestWaitMs: 61_000,
  paused: true,
  share: 0.254,
  started: 100,
  concurrency: 20,
  children: 2,
};
const ELSEWHERE: QueueLag = {
  ...LAG,
  queue: 'far',
  ...{ waiting: null, active: null, delayed: null, failed: null },
  ...{ oldestWaitMs: null, paused: null, share: null },
};

describe('swarm queues', () => {
  it('is a table', () => {
    const [head, row, ...more] = queuesReport([LAG], 'redis://x', 'default', 120).split('\n');
    assert.match(
      head ?? '',
      /^QUEUE +WAITING +ACTIVE +DELAYED +FAILED +OLDEST +SHARE +PLACES +CHILDREN +PREFIX *$/,
    );
    assert.match(row ?? '', /^mail +12 paused +3 +1 +7 +1m( \d+s)? +25% +20 +2 +bull *$/);
    assert.deepEqual(more, []);
  });

  it('has all counts in 80 columns, and loses those of failed jobs last where there is less room', () => {
    const large: QueueLag = { ...LAG, queue: 'a-queue-with-a-long-name', waiting: 123_456, failed: 654_321 };
    const [head = '', row = ''] = queuesReport([large], 'redis://x', 'default', 80).split('\n');
    assert.ok(head.length <= 80 && row.length <= 80, `${head}\n${row}`);
    assert.match(head, /^QUEUE +WAITING +ACTIVE +DELAYED +FAILED +OLDEST +SHARE +PLACES +CHLD/);
    assert.match(row, / 123456 paused +3 +1 +654321 /);
    assert.match(queuesReport([LAG], 'redis://x', 'default', 50), /^QUEUE +WAITING +ACTIVE +FAILED +OLDEST/);
  });

  it('says where it cannot look, and where there is nothing', () => {
    assert.match(queuesReport([ELSEWHERE], 'redis://x', 'default', 120), /not on the Redis of the registry/);
    assert.match(queuesReport([], 'redis://x', 'mine', 120), /No child works for a queue in namespace mine/);
  });
});

describe('metrics of queues', () => {
  const families = queueMetrics([LAG, ELSEWHERE]);
  const values = (name: string) =>
    families.find((family) => family.name === name)?.samples.map((s) => s.value);

  it('are gauges by queue', () => {
    assert.deepEqual(families[0]?.samples[0]?.labels, { queue: 'mail', prefix: 'bull', redis: 'here' });
    assert.deepEqual(values('swarm_queue_waiting'), [12, null]);
    assert.deepEqual(values('swarm_queue_failed'), [7, null]);
    assert.deepEqual(values('swarm_queue_oldest_wait_seconds'), [61, null]);
    assert.deepEqual(values('swarm_queue_paused'), [1, null]);
    assert.deepEqual(values('swarm_queue_share_ratio'), [0.254, null]);
    assert.deepEqual(values('swarm_queue_jobs_limit'), [20, 20]);
  });

  it('have no oldest wait where nobody waits', () => {
    const [family] = queueMetrics([{ ...LAG, waiting: 0, oldestWaitMs: null }]).filter(({ name }) =>
      name.includes('oldest'),
    );
    assert.equal(family?.samples[0]?.value, 0);
  });
});
