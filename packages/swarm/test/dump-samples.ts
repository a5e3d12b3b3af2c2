/** Dumps for tests. */
import type { DumpRecord, Frame, PendingIo } from '../dist/dump.js';

export function frame(name: string, more: Partial<Frame> = {}): Frame {
  return {
    function: name,
    file: `/app/${name}.js`,
    line: 1,
    column: 2,
    isAsync: false,
    owner: 'app',
    ...more,
  };
}

export function pendingIo(what: string, more: Partial<PendingIo> = {}): PendingIo {
  return { type: 'fetch', what, peer: null, phase: 'sent, no answer yet', ageMs: 12_345, job: null, ...more };
}

export function dumpRecord(at: number, more: Partial<DumpRecord> = {}): DumpRecord {
  const job = { queue: 'mail', id: '7', name: 'welcome', attempt: 2, startedAtMs: 1_699_999_990_000 };
  return {
    id: `dump-${at}`,
    atMs: 1_700_000_000_000 + at,
    identity: `web1:${at}:aa`,
    master: 'web1:1:bb',
    host: 'web1',
    tag: 'shop',
    slot: 2,
    group: 'default',
    pid: at,
    generation: 1,
    trigger: 'stuck',
    blockedMs: 10_000,
    node: '20.0.0',
    kind: 'javascript',
    stack: [
      frame('RegExp.test', { file: null, line: null, column: null, owner: 'native' }),
      frame('parse'),
      frame('processJob', { file: '/app/node_modules/bullmq/worker.js', owner: 'module', isAsync: true }),
    ],
    tops: [frame('RegExp.test', { file: null, line: null, column: null, owner: 'native' })],
    samples: 3,
    isMoving: false,
    isAfterBlock: false,
    job,
    jobs: [job],
    native: { state: 'R', wchan: null, syscall: 'running', target: null, command: null, cpuPercent: 99 },
    processes: [],
    io: [],
    resources: { Timeout: 2 },
    heap: { usedBytes: 1e7, limitBytes: 1e9, externalBytes: 1e6 },
    elu: 0.5,
    workerThreads: 1,
    notes: [],
    tookMs: 100,
    ...more,
  };
}
