/** Redis Cluster of three shards: registry, swarm apps and unmodified programs on it. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it, type TestContext } from 'node:test';
import { Queue } from 'bullmq';
import { type ClusterFleet, startCluster } from '../support/redis-fleet.js';
import { Swarm, type SwarmOptions, swarmCommand } from '../support/swarm.js';
import { waitFor } from '../support/wait.js';

interface Set {
  swarm: Swarm;
  queue: Queue;
  add(data: object): Promise<string>;
  command(...words: string[]): ReturnType<typeof swarmCommand>;
}

describe('on Redis Cluster', { concurrency: 3 }, () => {
  let fleet: ClusterFleet;
  before(async () => {
    fleet = await startCluster();
  });
  after(() => fleet.close());

  function start(
    t: TestContext,
    app: string,
    prefix: string,
    { args = [], env = {} }: SwarmOptions = {},
  ): Set {
    const name = `q${randomBytes(4).toString('hex')}`;
    const where = ['--redis', fleet.url, '--namespace', `ns-${name}`];
    const queue = new Queue(name, { connection: fleet.client, prefix });
    queue.on('error', () => {});
    const swarm = new Swarm(app, {
      args: ['--count', '2', ...where, ...args],
      env: { QUEUE_NAME: name, APP_CLUSTER_NODES: JSON.stringify(fleet.nodes), ...env },
    });
    t.after(async () => {
      await swarm.close();
      await queue.close();
    });
    return {
      swarm,
      queue,
      add: async (data) => (await queue.add('job', data)).id as string,
      command: (...words) => swarmCommand([...words, ...where]),
    };
  }

  const ended = ({ queue }: Set, state: string, ids: readonly string[]) =>
    waitFor(`the jobs are ${state}`, async () => {
      const states = await Promise.all(ids.map((id) => queue.getJobState(id)));
      return states.every((each) => each === state);
    });

  /** Its registry is whole, takes commands, and is gone with it. */
  async function registryWorks({ swarm, command }: Set): Promise<void> {
    const { stdout } = await command('ps', '--json');
    const [master] = JSON.parse(stdout) as { pid: number; children: { state: string; rssBytes: number }[] }[];
    assert.equal(master?.pid, swarm.pid);
    assert.deepEqual(
      master.children.map(({ state }) => state),
      ['up', 'up'],
    );
    assert.equal((await command('quiet', 'all')).code, 0);
    assert.equal((await command('resume', 'all')).code, 0);
    assert.equal((await command('recycle', '0')).code, 0);
    const deaths = JSON.parse((await command('deaths', '--json')).stdout) as { cause: string }[];
    assert.ok(deaths.some(({ cause }) => cause === 'signal'));
    assert.equal((await command('stop', 'all')).code, 0);
    assert.equal(await swarm.exited(), 0);
    assert.deepEqual(JSON.parse((await command('ps', '--json')).stdout), []);
  }

  it('an unmodified program: jobs run, those of a killed child are released', async (t) => {
    const set = start(t, 'cluster-worker.mjs', '{jobs}');
    await set.swarm.ready(2);
    const ids = await Promise.all(Array.from({ length: 30 }, () => set.add({ ms: 5 })));
    await ended(set, 'completed', ids);
    const id = await set.add({ first: { ms: 600_000 } });
    const run = await waitFor('it runs', () => set.swarm.all(`runs ${id}`)[0]);
    process.kill(run.pid as number, 'SIGKILL');
    await set.swarm.line('released');
    await ended(set, 'completed', [id]);
    const job = await set.queue.getJob(id);
    assert.deepEqual([job?.returnvalue.starts, job?.attemptsMade], [2, 1]);
    await set.swarm.ready(2);
    await registryWorks(set);
  });

  it('a swarm app: the same, with a prefix that has a hash tag', async (t) => {
    const set = start(t, 'fault-app.mjs', '{bull}', { args: ['--prefix', '{bull}'] });
    await set.swarm.ready(2);
    const ids = await Promise.all(Array.from({ length: 30 }, () => set.add({ ms: 5 })));
    await ended(set, 'completed', ids);
    const killer = await set.add({ killAfterMs: 100, ms: 600_000 });
    await ended(set, 'failed', [killer]);
    assert.match((await set.queue.getJob(killer))?.failedReason ?? '', /SIGKILL/);
    await set.swarm.ready(2);
    await registryWorks(set);
  });

  it('a swarm app without such a prefix does not start, and says why', async (t) => {
    const { swarm } = start(t, 'fault-app.mjs', 'bull', { args: ['--count', '1'] });
    assert.equal(await swarm.exited(), 64);
    assert.match(swarm.stderr, /SWARM_CLUSTER_PREFIX: --prefix "bull" has no hash tag.*\{bull\}/);
  });
});
