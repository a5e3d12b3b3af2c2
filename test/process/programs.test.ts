/** Unmodified BullMQ programs: each runs in two children, and loses no job to a kill. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { isAlive } from '../support/processes.js';
import { assertRecovers, GatedJob, project, startSwarm, useQueue } from '../support/programs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { fullIt } from '../support/tier.js';
import { waitFor } from '../support/wait.js';

const TWO = ['--count', '2'];

let redis: TestRedis;
/** Programs have their queues on another Redis than the registry's, unless their test says otherwise. */
let queues: TestRedis;

before(async () => {
  [redis, queues] = await Promise.all([startRedis(), startRedis()]);
});

after(() => Promise.all([redis.close(), queues.close()]));

describe('an unmodified program', { concurrency: 2 }, () => {
  for (const app of ['esm.mjs', 'main.cjs']) {
    for (const major of [5, 6] as const) {
      const itHere = (app === 'esm.mjs') === (major === 6) ? it : fullIt;
      itHere(`${app} on bullmq ${major}`, async (t) => {
        const queue = `${app}-${major}`;
        const path =
          major === 6 ? app : join(await project(t, { [app]: { app } }, { bullmq: 'bullmq5' }), app);
        const swarm = startSwarm(t, path, { redis, queue, args: TWO });
        await assertRecovers(t, swarm, useQueue(t, redis, queue, { major }));
        assert.match(String((await swarm.line('ready')).bullmq), major === 5 ? /^5\./ : /^6\./);
      });
    }
  }

  it('has its queues on another Redis than the registry, under a prefix that --prefix does not touch', async (t) => {
    const args = [...TWO, '--prefix', 'other'];
    const env = { APP_PREFIX: 'shop' };
    const swarm = startSwarm(t, 'main.cjs', { redis, queues, queue: 'elsewhere', args, env });
    await assertRecovers(t, swarm, useQueue(t, queues, 'elsewhere', { prefix: 'shop' }));
    assert.deepEqual(await redis.client.keys('*:elsewhere:*'), []);
    assert.deepEqual(await queues.client.keys('swarm:*'), []);
  });

  for (const app of ['instance.cjs', 'url.cjs']) {
    fullIt(`gives its Worker a connection as in ${app}`, async (t) => {
      const swarm = startSwarm(t, app, { redis, queues, queue: app, args: TWO });
      await assertRecovers(t, swarm, useQueue(t, queues, app));
    });
  }

  fullIt('has several Workers, each of whose jobs are released', async (t) => {
    const swarm = startSwarm(t, 'several-workers.cjs', {
      redis,
      queues,
      queue: 'several',
      args: ['--count', '1'],
    });
    await swarm.ready(1);
    const jobs = await Promise.all(
      ['several-mail', 'several-reports'].map((name) => GatedJob.add(t, useQueue(t, queues, name))),
    );
    const pids = await Promise.all(jobs.map((job) => job.runner()));
    assert.equal(new Set(pids).size, 1);
    const pid = pids[0] as number;
    process.kill(pid, 'SIGKILL');
    // no sibling lives: the replacement releases them
    for (const job of jobs) {
      await job.runner(pid);
      await job.open();
      assert.equal((await job.result()).attemptsMade, 0);
    }
  });

  fullIt('starts its Worker by hand, later', async (t) => {
    const swarm = startSwarm(t, 'later-run.mjs', { redis, queues, queue: 'later', args: TWO });
    await swarm.ready(2);
    // ready when the Worker runs, not when it is made
    const first = swarm.lines.findIndex(({ message }) => message === 'ready');
    assert.ok(swarm.lines.slice(0, first).some(({ message }) => message === 'prepared'));
    await assertRecovers(t, swarm, useQueue(t, queues, 'later'));
  });

  it('has a sandboxed processor: its process goes with the child', async (t) => {
    const swarm = startSwarm(t, 'sandboxed.cjs', { redis, queues, queue: 'sandboxed', args: TWO });
    const { killed, result } = await assertRecovers(t, swarm, useQueue(t, queues, 'sandboxed'));
    const sandbox = killed.sandbox as number;
    assert.notEqual(sandbox, killed.pid);
    await waitFor('the sandbox of the killed child is gone', () => !isAlive(sandbox));
    // nothing of ours is loaded where BullMQ runs the processor
    assert.deepEqual([result.execArgv, result.options], [[], null]);
  });

  fullIt('has a sandboxed processor in worker threads', async (t) => {
    const env = { APP_THREADS: 'yes' };
    const swarm = startSwarm(t, 'sandboxed.cjs', { redis, queues, queue: 'threads', args: TWO, env });
    const { killed, result } = await assertRecovers(t, swarm, useQueue(t, queues, 'threads'));
    assert.equal(killed.sandbox, killed.pid);
    assert.deepEqual([result.execArgv, result.options], [[], null]);
  });
});
