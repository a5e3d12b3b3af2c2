/** Redis Sentinel: the primary is killed, its replica takes its place, and nobody else is lost. Fault 16. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it, type TestContext } from 'node:test';
import { Queue } from 'bullmq';
import { type SentinelFleet, startSentinels } from '../support/redis-fleet.js';
import { Swarm, swarmCommand } from '../support/swarm.js';
import { A_COMMAND_EACH, waitFor } from '../support/wait.js';

describe('a fail-over of Redis', () => {
  let fleet: SentinelFleet;
  before(async () => {
    fleet = await startSentinels();
  });
  after(() => fleet.close());

  function start(t: TestContext): { swarm: Swarm; queue: Queue; namespace: string } {
    const name = `q${randomBytes(4).toString('hex')}`;
    const namespace = `ns-${name}`;
    const queue = new Queue(name, { connection: { ...fleet.connection, maxRetriesPerRequest: null } });
    queue.on('error', () => {});
    const swarm = new Swarm('fault-app.mjs', {
      args: ['--count', '2', '--redis', fleet.url, '--namespace', namespace, '-c', '2'],
      env: { QUEUE_NAME: name },
    });
    t.after(async () => {
      await swarm.close();
      await queue.close();
    });
    return { swarm, queue, namespace };
  }

  const completed = (queue: Queue, ids: readonly string[]) =>
    waitFor('the jobs are completed', async () => {
      const states = await Promise.all(ids.map((id) => queue.getJobState(id)));
      return states.every((state) => state === 'completed');
    });

  it('is survived by master and children, and work goes on', async (t) => {
    const { swarm, queue, namespace } = start(t);
    await swarm.ready(2);
    const add = async (data: object): Promise<string> => (await queue.add('job', data)).id as string;
    const early = await Promise.all(Array.from({ length: 20 }, () => add({ ms: 5 })));
    await completed(queue, early);
    const during = await add({ ms: 9_000 });
    await waitFor('it runs', () => swarm.all(`runs ${during}`).length === 1);

    const tookMs = await fleet.failOver();
    t.diagnostic(`fail-over after ${tookMs} ms`);
    const late = await Promise.all(Array.from({ length: 20 }, () => add({ ms: 5 })));
    await completed(queue, [...late, during]);
    assert.deepEqual(swarm.all('exited'), [], 'nobody died of it');
    assert.deepEqual(swarm.all('kill'), []);

    const failedOverAtMs = Date.now();
    const where = ['--redis', fleet.url, '--namespace', namespace];
    await waitFor(
      'the registry is written to the new primary',
      async () => {
        const { stdout } = await swarmCommand(['ps', '--json', ...where]);
        const masters = JSON.parse(stdout) as { beatAtMs: number; children: { state: string }[] }[];
        const isWhole = masters.length === 1 && masters[0]?.children.every(({ state }) => state === 'up');
        return isWhole && (masters[0]?.beatAtMs ?? 0) > failedOverAtMs;
      },
      A_COMMAND_EACH,
    );

    const killer = await add({ killAfterMs: 200, ms: 600_000 });
    await waitFor('it has killed its process', () => swarm.all('exited').length > 0);
    await waitFor('it is quarantined in the end', async () => (await queue.getJobState(killer)) === 'failed');
    assert.match((await queue.getJob(killer))?.failedReason ?? '', /SIGKILL/);
    await swarm.ready(2);
    const { code } = await swarmCommand(['stop', 'all', ...where]);
    assert.equal(code, 0);
    assert.equal(await swarm.exited(), 0);
  });
});
