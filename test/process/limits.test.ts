/** What ends a child's life by plan, what it is started with, and which job makes it grow. */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import type { JobMemoryOnHost } from '../../packages/swarm/dist/registry/schema.js';
import { fewestAtWork } from '../support/capacity.js';
import { completed } from '../support/jobs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { type LogLine, swarmCommand } from '../support/swarm.js';
import { Trial } from '../support/trial.js';
import { waitFor } from '../support/wait.js';

const LONG = { timeoutMs: 60_000 };

describe('a child', { concurrency: 2 }, () => {
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

  it('is recycled after so many jobs, give or take a tenth', async (t) => {
    const { trial, swarm } = start(t, 2, ['--max-jobs', '30']);
    const pids = await swarm.ready(2, LONG);
    await trial.addMany(100, { ms: 50 });
    for (const pid of pids) {
      const recycle = await swarm.line('recycle', { pid, reason: 'max-jobs' }, LONG);
      assert.ok((recycle['jobs'] as number) >= 27, `after ${recycle['jobs']} jobs`);
      await swarm.line('exited', { pid, cause: 'recycled', code: 0 }, LONG);
    }
    assert.equal(fewestAtWork(swarm, 2), 2);
    await trial.nothingLost(new Map([[swarm, 2]]));
  });

  it('is recycled when it has lived for so long, one after the other', async (t) => {
    const { swarm } = start(t, 2, ['--max-age', '4s']);
    const pids = await swarm.ready(2, LONG);
    const [first, second] = await Promise.all(
      pids.map((pid) => swarm.line('exited', { pid, cause: 'recycled', code: 0 }, LONG)),
    );
    const readyAtMs = (pid: number) => Date.parse(swarm.all('ready', { pid })[0]?.time ?? '');
    for (const pid of pids) {
      const recycle = swarm.all('recycle', { pid, reason: 'max-age' })[0] as LogLine;
      const ageMs = Date.parse(recycle.time) - readyAtMs(pid);
      assert.ok(ageMs > 3_500, `after ${ageMs} ms`);
    }
    assert.notEqual(first?.time, second?.time);
    assert.equal(fewestAtWork(swarm, 2), 2);
  });

  it('has V8 limits that fit, unless it has its own', async (t) => {
    const fitted = start(t, 1, ['--max-memory', '512MiB']);
    await fitted.swarm.line('execArgv --max-old-space-size=768 --max-semi-space-size=8', {}, LONG);
    const env = { NODE_OPTIONS: '--max-semi-space-size=4' };
    const own = start(t, 1, ['--max-memory', '512MiB', '--node-arg=--max-old-space-size=333'], env);
    await own.swarm.line('execArgv --max-old-space-size=333', {}, LONG);
    const none = start(t, 1, ['--max-memory-hard', '1GB']);
    await none.swarm.line('execArgv none', {}, LONG);
  });

  it('allocates with jemalloc if asked to', async (t) => {
    const { swarm } = start(t, 1, ['--jemalloc']);
    const loaded = swarm.line('jemalloc is loaded', {}, LONG);
    loaded.catch(() => {});
    const code = await Promise.race([loaded, swarm.exited(60_000)]);
    if (typeof code === 'number') {
      assert.equal(code, 64);
      assert.match(swarm.stderr, /SWARM_NO_JEMALLOC: .*libjemalloc2/);
      return t.skip(swarm.stderr);
    }
    const plain = start(t, 1, []);
    await plain.swarm.line('jemalloc is not loaded', {}, LONG);
    assert.equal(swarm.stderr, '');
  });

  it('is found by the name of the job that makes it grow', async (t) => {
    const { trial, swarm } = start(t, 2, []);
    await swarm.ready(2, LONG);
    const names = ['leaky', 'clean', 'clean'];
    for (let at = 0; at < 45; at += 1) {
      const name = names[at % 3] as string;
      const { id } = await trial.queue.add(name, name === 'leaky' ? { leakMb: 6, ms: 30 } : { ms: 30 });
      trial.ids.push(id as string);
    }
    await completed(trial.queue, 45);
    const all = await waitFor('the registry has all runs', async () => {
      const kinds = await byJob(trial);
      return kinds.reduce((sum, { runs }) => sum + runs, 0) === 45 ? kinds : null;
    });
    t.diagnostic(
      all.map(({ name, medianBytes, p95Bytes }) => `${name}: ${medianBytes}, ${p95Bytes}`).join('; '),
    );
    const [leaky, clean] = all as [JobMemoryOnHost, JobMemoryOnHost];
    assert.deepEqual(
      [leaky.name, leaky.queue, leaky.runs, leaky.approximate],
      ['leaky', trial.queue.name, 15, false],
    );
    assert.ok(Math.abs(leaky.medianBytes - 6e6) < 1e6, `${leaky.medianBytes} of 6 MB`);
    assert.ok(clean.name === 'clean' && clean.medianBytes < 1e6, `${clean.medianBytes} of nothing`);
    const { stdout } = await swarmCommand(['ps', '--by-job', ...registryOf(trial)]);
    assert.match(stdout, /^NAME +QUEUE +RUNS +MEDIAN +P95 +APPROX\nleaky .* 15 .*no\nclean .* 30 .*no\n$/);
    await trial.nothingLost(new Map([[swarm, 2]]));
  });

  const registryOf = (trial: Trial) => ['--redis', redis.url, '--namespace', trial.namespace];

  async function byJob(trial: Trial): Promise<JobMemoryOnHost[]> {
    const { stdout } = await swarmCommand(['ps', '--by-job', '--json', ...registryOf(trial)]);
    return JSON.parse(stdout) as JobMemoryOnHost[];
  }
});
