/** Two masters on two hosts with a network between them, on one Redis: one registry, and each looks after the other. */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { noJobLost } from '../support/accounts.js';
import { running } from '../support/jobs.js';
import { type NetworkHost, openNetwork } from '../support/network.js';
import { whyNoOtherHost } from '../support/other-host.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import type { Swarm } from '../support/swarm.js';
import { Trial } from '../support/trial.js';
import { A_COMMAND_EACH, waitFor } from '../support/wait.js';

/** Renewed every 2 s; BullMQ's own check of stalled jobs would come long after the test. */
const SHORT_LOCK = '{"lockDuration":4000,"stalledInterval":600000}';
const patient = { timeoutMs: 90_000 };

interface Site {
  redis: TestRedis;
  trial: Trial;
  hosts: NetworkHost[];
  start(host: NetworkHost): Swarm;
}

/** null: it cannot be made here, and the test is skipped. */
async function open(t: TestContext, ...names: string[]): Promise<Site | null> {
  const network = whyNoOtherHost() ?? openNetwork(t);
  if (typeof network === 'string') {
    t.skip(network);
    return null;
  }
  const redis = await startRedis(['--bind', '127.0.0.1', network.address, '--protected-mode', 'no']);
  t.after(() => redis.close());
  const hosts: NetworkHost[] = [];
  for (const name of names) hosts.push(await network.join(name));
  const trial = new Trial(t, redis);
  const start = (host: NetworkHost): Swarm =>
    trial.start(1, {
      host,
      args: ['--redis', `redis://${network.address}:${redis.port}`],
      env: { QUEUE_REDIS_HOST: network.address, APP_WORKER_OPTIONS: SHORT_LOCK },
    });
  return { redis, trial, hosts, start };
}

interface PsMaster {
  host: string;
  stale: boolean;
  identity: string;
}

async function ps(trial: Trial): Promise<PsMaster[]> {
  return JSON.parse((await trial.command('ps', '--json')).stdout) as PsMaster[];
}

describe('two hosts', () => {
  it('share one registry, and are commanded from a third', async (t) => {
    const site = await open(t, 'east', 'west');
    if (!site) return;
    const { trial, redis, hosts } = site;
    const swarms = hosts.map(site.start);
    for (const swarm of swarms) await swarm.ready(1);
    assert.deepEqual((await ps(trial)).map(({ host, stale }) => [host, stale]).sort(), [
      ['east', false],
      ['west', false],
    ]);
    await trial.addMany(30, { ms: 30 });
    await noJobLost({ redis, jobs: [{ queue: trial.queue, ids: trial.ids }] });
    for (const [at, swarm] of swarms.entries())
      assert.ok(
        swarm.lines.some(({ message }) => message.startsWith('runs ')),
        `${hosts[at]?.name} has run some`,
      );
    assert.equal((await trial.command('roll', 'west')).code, 0);
    assert.deepEqual(
      swarms.map((swarm) => swarm.all('rolled').length),
      [0, 1],
    );
    assert.equal((await trial.command('scale', 'east', '2')).code, 0);
    await swarms[0]?.ready(2);
    assert.equal((await trial.command('stop', 'all')).code, 0);
    assert.deepEqual(await Promise.all(swarms.map((swarm) => swarm.exited())), [0, 0]);
    assert.deepEqual(await ps(trial), []);
  });

  it('one loses its network: the other releases its jobs, each ends once, and it comes back', async (t) => {
    const site = await open(t, 'east', 'west');
    if (!site) return;
    const { trial, redis, hosts } = site;
    const [eastHost, westHost] = hosts as [NetworkHost, NetworkHost];
    const east = site.start(eastHost);
    await east.ready(1);
    const id = await trial.add({ first: { ms: 35_000 } });
    await running(redis, trial.queue, id);
    const west = site.start(westHost);
    await west.ready(1);

    // its lock is a short one: it runs out before anybody looks, so only what was reported is known
    await waitFor(
      'it is reported',
      async () => (await trial.command('jobs', '--json')).stdout.includes(trial.queue.name),
      A_COMMAND_EACH,
    );

    eastHost.pull();
    const pulledAtMs = Date.now();
    await waitFor('the other one runs it', () => west.all(`runs ${id}`).length === 1, patient);
    t.diagnostic(`runs again ${Date.now() - pulledAtMs} ms after the cable was pulled`);
    assert.deepEqual((await ps(trial)).map(({ host, stale }) => [host, stale]).sort(), [
      ['east', true],
      ['west', false],
    ]);
    await waitFor(
      'it is completed',
      async () => (await trial.queue.getJobState(id)) === 'completed',
      patient,
    );
    await east.line(
      'registry is not written: Redis does not take it; children go on, and it is tried every second',
      {},
      patient,
    );
    assert.deepEqual(east.all('exited'), [], 'nobody there was killed for it');

    eastHost.plug();
    await east.line('registry is written again', {}, patient);
    await waitFor(
      'both are in the registry',
      async () => (await ps(trial)).every(({ stale }) => !stale),
      patient,
    );
    await trial.addMany(20, { ms: 20 });
    await noJobLost({ redis, jobs: [{ queue: trial.queue, ids: trial.ids }] }, patient.timeoutMs);
    assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
    assert.equal((await trial.command('stop', 'west')).code, 0);
    assert.equal(await west.exited(), 0);
    assert.equal((await trial.command('stop', 'east')).code, 0);
    assert.equal(await east.exited(), 0);
  });
});
