/**
 * Faults 7, 8 and 9: a child whose loop does not turn, in every way that is known. Each is dumped, and the
 * dump names the place; each is killed for it, and its job runs again, with the blame for what it did.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { temporaryDirectory } from '../support/programs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { type Dump, StuckTrial } from '../support/stuck-trial.js';
import { fullDescribe, fullIt, longIt } from '../support/tier.js';

interface Hang {
  data?: Record<string, unknown>;
  args?: string[];
  kind: 'javascript' | 'native';
  /** A frame of the app's. */
  frame?: string;
  /** The innermost frame. */
  top?: RegExp;
  moving?: boolean;
  also?: (dump: Dump) => void;
}

const HANGS: Record<string, Hang> = {
  loop: { kind: 'javascript', frame: 'spinForever', moving: false },
  movingLoop: { kind: 'javascript', frame: 'alternate', top: /^step\d+$/, moving: true },
  regex: { kind: 'javascript', frame: 'matchBadly', top: /RegExp\.test/ },
  stringify: {
    kind: 'javascript',
    frame: 'stringifyForever',
    also: ({ stack }) => assert.ok(stack.some((frame) => frame.function === 'JSON.stringify')),
  },
  atomics: { kind: 'javascript', frame: 'waitForNobody', top: /Atomics\.wait/, moving: false },
  vm: {
    kind: 'javascript',
    frame: 'runInVm',
    also: ({ stack }) => assert.equal(stack[0]?.file, 'sandboxed.vm.js'),
  },
  microtasks: { kind: 'javascript', frame: 'again' },
  nextTick: { kind: 'javascript', frame: 'again' },
  gc: {
    kind: 'javascript',
    args: ['--node-arg', '--max-old-space-size=120', '--node-arg', '--max-semi-space-size=1'],
    frame: 'churnHeap',
    also: ({ notes }) => assert.match(notes.join(), /collecting garbage/),
  },
  wasm: {
    kind: 'javascript',
    frame: 'spinInWasm',
    also: ({ stack }) => assert.match(stack[0]?.file ?? '', /^wasm:/),
  },
  pbkdf2: { kind: 'native', also: ({ native }) => assert.equal(native?.state, 'R') },
  exec: {
    kind: 'native',
    also: ({ native, processes }) => {
      // the program alone: command lines hold secrets
      assert.match(native?.command ?? '', /^(sh -c )?sleep$/);
      assert.ok(processes.length > 0);
    },
  },
};

/** It hangs as `microtasks` does, nearly. */
const TWIN = 'nextTick';

describe('a loop that does not turn', { concurrency: 2 }, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  for (const [hang, expected] of Object.entries(HANGS)) {
    const itHere = hang === 'loop' ? it : hang === TWIN ? longIt : fullIt;
    itHere(`in ${hang}: dumped, with its place and its job, and killed`, (t) =>
      hangs(t, redis, hang, expected),
    );
  }

  fullIt('in JSON.parse: dumped as native code, and killed', (t) =>
    hangs(t, redis, 'parse', {
      kind: 'native',
      data: { items: 10_000_000 },
      args: ['--stuck-kill-after', '10s'],
    }),
  );

  fullIt('in a read of a FIFO: the call and the path', async (t) => {
    const path = await fifo(t);
    await hangs(t, redis, 'fifo', {
      kind: 'native',
      data: { path },
      also: ({ native }) => assert.deepEqual([native?.syscall, native?.target], ['read', path]),
    });
  });

  longIt('in an open of a FIFO: the call and the path', async (t) => {
    const path = await fifo(t);
    await hangs(t, redis, 'openFifo', {
      kind: 'native',
      data: { path },
      also: ({ native }) => assert.deepEqual([native?.syscall, native?.target], ['openat', path]),
    });
  });

  fullIt('since the first moment of a job: the job is shown, long before it counts as stuck', async (t) => {
    const trial = new StuckTrial(t, redis);
    const swarm = trial.startStuck({}, ['--stuck-after', '10m', '--stuck-kill-after', 'off']);
    await swarm.ready(1);
    const id = await trial.add({ hang: 'loop' });
    const { pid } = await trial.runs(id);
    await trial.showsBusy(pid, id);
    process.kill(pid, 'SIGKILL');
    await trial.nothingLost(new Map([[swarm, 1]]));
  });

  fullIt('because the process is stopped: told apart, and killed all the same', async (t) => {
    const trial = new StuckTrial(t, redis);
    const swarm = trial.startStuck();
    await swarm.ready(1);
    const id = await trial.add({ hang: 'never' });
    const { pid } = await trial.runs(id);
    process.kill(pid, 'SIGSTOP');
    const dump = await trial.dumpOf(pid);
    assert.deepEqual([dump.kind, dump.native?.state], ['stopped', 'T']);
    assert.equal((await trial.deathOf(pid)).cause, 'stuck');
    await trial.nothingLost(new Map([[swarm, 1]]));
  });
});

fullDescribe('a native call that returns', { concurrency: 2 }, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  it('is followed by a dump that names its caller; the child goes on', async (t) => {
    const trial = new StuckTrial(t, redis);
    const swarm = trial.startStuck({}, ['--stuck-after', '1s', '--stuck-kill-after', 'off']);
    await swarm.ready(1);
    const id = await trial.add({ hang: 'pbkdf2For', iterations: 4_000_000 });
    const { pid } = await trial.runs(id);
    const after = await trial.dumpOf(pid, ({ isAfterBlock }) => isAfterBlock);
    assert.ok(after.stack.some((frame) => frame.function.includes('deriveAWhile')));
    assert.equal(after.job?.id, id);
    await trial.nothingLost(new Map([[swarm, 1]]));
    assert.deepEqual(swarm.all('exited'), []);
  });

  it('and ends its process: the dump does not hold it up', async (t) => {
    const trial = new StuckTrial(t, redis);
    const swarm = trial.startStuck({}, ['--stuck-after', '1s', '--stuck-kill-after', '60s']);
    await swarm.ready(1);
    const { pid } = await trial.runs(await trial.add({ hang: 'pbkdf2Exit', iterations: 4_000_000 }));
    await swarm.line('dump', { pid });
    const exited = await swarm.line('exited', { pid });
    assert.deepEqual([exited['cause'], exited['code']], ['exit', 3]);
    await trial.nothingLost(new Map([[swarm, 1]]));
  });
});

/** One job that hangs at its first run; what is stored of it. */
async function hangs(t: TestContext, redis: TestRedis, hang: string, expected: Hang): Promise<void> {
  const trial = new StuckTrial(t, redis);
  const swarm = trial.startStuck({ args: expected.args ?? [] });
  await swarm.ready(1);
  const id = await trial.add({ hang, ...expected.data });
  const { pid } = await trial.runs(id);

  const stuck = await swarm.line('stuck', { pid });
  const line = await swarm.line('dump', { pid });
  t.diagnostic(
    `dump after ${Date.parse(line.time) - Date.parse(stuck.time)} ms: ${JSON.stringify(line['in'])}`,
  );
  // on a busy machine the first may find it without a CPU
  const dump = await trial.dumpOf(pid, ({ kind, isAfterBlock }) => kind === expected.kind && !isAfterBlock);
  assert.equal(dump.trigger, 'stuck');
  assert.ok(dump.blockedMs >= 1_000);
  assert.deepEqual(
    [dump.job?.queue, dump.job?.id, dump.job?.name, dump.job?.attempt],
    [trial.queue.name, id, 'job', 1],
  );
  const { frame } = expected;
  if (frame) {
    const found = dump.stack.find(({ function: name }) => name.includes(frame));
    assert.ok(found, JSON.stringify(dump.stack));
    assert.match(found.file ?? '', /stuck-worker\.mjs$/);
  }
  if (expected.top) assert.match(dump.stack[0]?.function ?? '', expected.top);
  if (expected.moving === false) assert.equal(dump.isMoving, false);
  expected.also?.(dump);

  const death = await trial.deathOf(pid);
  assert.equal(death.cause, 'stuck');
  assert.ok(death.dump);
  const all = (await trial.dumps()).filter((other) => other.pid === pid);
  // two samples may meet the same step
  if (expected.moving) assert.ok(all.some(({ isMoving }) => isMoving));
  assert.deepEqual(
    death.jobs.map((job) => [job.id, job.outcome, job.blame]),
    [[id, 'released', { exact: 1, shared: 0 }]],
  );
  await trial.nothingLost(new Map([[swarm, 1]]));
  assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
}

async function fifo(t: TestContext): Promise<string> {
  const path = join(await temporaryDirectory(t), 'fifo');
  assert.equal(spawnSync('mkfifo', [path]).status, 0);
  return path;
}
