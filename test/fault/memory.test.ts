/** Faults 23 to 26: children that grow. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe, it, type TestContext } from 'node:test';
import { fewestAtWork } from '../support/capacity.js';
import { completed } from '../support/jobs.js';
import { makeMemoryCgroup } from '../support/memory-cgroup.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { Trial } from '../support/trial.js';

const skip = !existsSync('/proc/self/smaps_rollup') && 'PSS is not readable here';
const LONG = { timeoutMs: 60_000 };

describe('a child that grows', { skip, concurrency: 3 }, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  function start(t: TestContext, count: number, args: readonly string[], env: Record<string, string> = {}) {
    const trial = new Trial(t, redis);
    const swarm = trial.start(count, { app: 'memory-worker.mjs', args, env });
    return { trial, swarm };
  }

  it('over the soft limit in a job: the job ends there, its child is replaced first, capacity stays', async (t) => {
    const { trial, swarm } = start(t, 3, ['--max-memory', '200MB']);
    await swarm.ready(3, LONG);
    const id = await trial.add({ leakMb: 170, ms: 8_000 });
    const others = await trial.addMany(100, { ms: 100 });
    const { pid } = await trial.runs(id);

    const recycle = await swarm.line('recycle', { pid }, LONG);
    assert.deepEqual(
      [recycle['reason'], recycle['overlap'], recycle['allowed']],
      ['max-memory', true, '200MB'],
    );
    t.diagnostic(`recycled at ${recycle['pss']}`);
    assert.ok(megabytes(recycle['pss']) > 200, `recycled at ${recycle['pss']}`);
    const exited = await swarm.line('exited', { pid, cause: 'recycled', code: 0 }, LONG);
    assert.match(String(exited['evidence']), /max-memory: PSS \d+MB of \d+MB, RSS /);
    await swarm.line('replaced', { slot: recycle.slot as number, detail: 'max-memory' });
    await completed(trial.queue, 1 + others.length);

    assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 1, stalled: 0 });
    assert.equal((await trial.queue.getJob(id))?.returnvalue.pid, pid, 'the job ended where it began');
    assert.equal(swarm.all('recycle').length, 1);
    assert.equal(fewestAtWork(swarm, 3), 3, 'the new one was ready before the old one left');
    await trial.nothingLost(new Map([[swarm, 3]]));
  });

  it('whose limit is less than it takes from the start: said once, and no churn', async (t) => {
    const { trial, swarm } = start(t, 2, ['--max-memory', '50MB'], { APP_BASELINE_MB: '80' });
    await swarm.ready(2, LONG);
    const said = await swarm.line('max-memory is less than the app takes before its first job: raise it', {
      level: 'error',
    });
    assert.equal(said['max_memory'], '50MB');
    assert.ok(megabytes(said['pss']) > 80 && megabytes(said['recycled_above']) > megabytes(said['pss']));
    const ids = await trial.addMany(120, { ms: 60 });
    await completed(trial.queue, ids.length);
    assert.deepEqual(swarm.all('recycle'), []);
    assert.equal(swarm.spawnedPids.length, 2);

    const leak = await trial.add({ leakMb: 55 });
    const { pid } = await trial.runs(leak);
    await swarm.line('recycle', { pid, reason: 'max-memory' }, LONG);
    await swarm.line('exited', { pid, cause: 'recycled' }, LONG);
    assert.equal(swarm.all(said.message).length, 1, 'once, whoever comes and goes');
    await trial.nothingLost(new Map([[swarm, 2]]));
  });

  it('together with all the others: they are replaced one after the other', async (t) => {
    const { trial, swarm } = start(t, 3, ['--max-memory', '150MB']);
    const pids = await swarm.ready(3, LONG);
    // each child gets one, because each is busy for as long
    await trial.addMany(3, { leakMb: 125, ms: 3_000 });
    for (const pid of pids) await swarm.line('exited', { pid, cause: 'recycled' }, { timeoutMs: 90_000 });

    assert.deepEqual(new Set(swarm.all('recycle').map(({ pid }) => pid)), new Set(pids));
    assert.equal(fewestAtWork(swarm, 3), 3);
    const moves = swarm.lines.filter(
      ({ message, stream }) => !stream && ['spawned', 'exited'].includes(message),
    );
    assert.deepEqual(
      moves.slice(3).map(({ message }) => message),
      ['spawned', 'exited', 'spawned', 'exited', 'spawned', 'exited'],
    );
    await trial.nothingLost(new Map([[swarm, 3]]));
  });

  it('where there is no room for one more: it leaves first, and capacity is never under N − 1', async (t) => {
    const memory = makeMemoryCgroup(340e6);
    if (typeof memory === 'string') return t.skip(memory);
    const { trial, swarm } = start(t, 2, ['--max-memory', '150MB']);
    memory.add(swarm.pid);
    t.after(async () => {
      await swarm.close();
      await memory.remove();
    });
    await swarm.ready(2, LONG);
    const id = await trial.add({ leakMb: 125, ms: 3_000 });
    const { pid } = await trial.runs(id);
    await swarm.line('recycle', { pid, reason: 'max-memory', overlap: false }, LONG);
    await swarm.line('exited', { pid, cause: 'recycled' }, LONG);
    await swarm.ready(2, LONG);
    assert.equal(fewestAtWork(swarm, 2), 1);
    assert.equal(memory.oomKills(), 0);
    await trial.nothingLost(new Map([[swarm, 2]]));
  });

  it('past the hard limit in steps: killed before the kernel does it, and its job runs elsewhere', async (t) => {
    const memory = makeMemoryCgroup(700e6);
    const { trial, swarm } = start(t, 2, ['--max-memory-hard', '250MB']);
    if (typeof memory === 'string') t.diagnostic(`without a kernel that would kill: ${memory}`);
    else {
      memory.add(swarm.pid);
      t.after(async () => {
        await swarm.close();
        await memory.remove();
      });
    }
    await swarm.ready(2, LONG);
    const id = await trial.add({ first: { stepMb: 40, steps: 30, stepMs: 200 } });
    const { pid } = await trial.runs(id);

    const over = await swarm.line('over the hard limit', { pid }, { everyMs: 2 });
    const exited = await swarm.line('exited', { pid }, { everyMs: 2 });
    t.diagnostic(
      `${over['rss']} at the kill, gone after ${Date.parse(exited.time) - Date.parse(over.time)} ms`,
    );
    assert.deepEqual(
      [exited['cause'], exited['signal'], exited['rss']],
      ['max-memory-hard', 'SIGKILL', over['rss']],
    );
    assert.ok(megabytes(over['rss']) > 250 && megabytes(over['rss']) < 400, `${over['rss']} at the kill`);
    if (typeof memory !== 'string') assert.equal(memory.oomKills(), 0);

    const next = await trial.runs(id, 2, LONG);
    assert.notEqual(next.pid, pid);
    await completed(trial.queue, 1);
    assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
    await trial.nothingLost(new Map([[swarm, 2]]));
  });

  it('past the hard limit before it is ready: the app cannot boot, and the error says why', async (t) => {
    const { swarm } = start(t, 1, ['--max-memory-hard', '40MB']);
    assert.equal(await swarm.exited(), 70);
    assert.match(
      swarm.stderr,
      /SWARM_APP_FAILED.*\n.*took more memory than --max-memory-hard, 40MB, before it was ready/,
    );
    assert.equal(swarm.all('exited', { cause: 'max-memory-hard' }).length, 3);
  });
});

function megabytes(shown: unknown): number {
  return Number(/^([\d.]+)MB$/.exec(String(shown))?.[1] ?? Number.NaN);
}
