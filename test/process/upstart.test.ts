/** `swarm init upstart`: the job file against init(5), and what init does with it played on the real swarm. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it, type TestContext } from 'node:test';
import { noJobLost } from '../support/accounts.js';
import { running } from '../support/jobs.js';
import { killMarked, MARK } from '../support/processes.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { appPath, swarmCommand } from '../support/swarm.js';
import { Trial } from '../support/trial.js';
import { parseUpstartJob, UpstartPlayer } from '../support/upstart.js';
import { A_COMMAND_EACH, waitFor } from '../support/wait.js';

describe('under Upstart', () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  async function job(...args: string[]) {
    const words = ['init', 'upstart', appPath('fault-worker.mjs'), ...args];
    const { code, stdout, stderr } = await swarmCommand(words);
    assert.deepEqual([code, stderr], [0, '']);
    return parseUpstartJob(stdout);
  }

  /** A player of the job, and what its administrator would put into /etc/default. */
  async function play(t: TestContext, trial: Trial, ...args: string[]) {
    const mark = randomUUID();
    const player = new UpstartPlayer(await job(...args));
    t.after(async () => {
      killMarked(mark);
      await waitFor('nobody is left', () => !player.isRunning);
      killMarked(mark);
    });
    const env = {
      REDIS_URL: redis.url,
      SWARM_NAMESPACE: trial.namespace,
      SWARM_LOG_FORMAT: 'json',
      QUEUE_NAME: trial.queue.name,
      QUEUE_REDIS_PORT: String(redis.port),
      [MARK]: mark,
    };
    return { player, env };
  }

  const ready = (player: UpstartPlayer, count: number, generation = 0) =>
    waitFor(`${count} children are ready`, () => {
      const pids = new Set(
        player.lines
          .filter((line) => line.message === 'ready' && line.generation === generation)
          .map(({ pid }) => pid),
      );
      return pids.size >= count;
    });

  it('the job file is one, with limits that fit', async () => {
    const { stanzas, script } = await job('--count', '3', '--timeout', '20s');
    assert.deepEqual(stanzas.get('respawn'), ['']);
    assert.deepEqual(stanzas.get('respawn limit'), ['10 60']);
    assert.deepEqual(stanzas.get('kill timeout'), ['28']);
    assert.deepEqual(stanzas.get('console'), ['log']);
    assert.ok(stanzas.get('env')?.includes('COUNT=3'));
    assert.ok(stanzas.get('setuid')?.length === 1);
    assert.match(script, /^ {2}exec .*fault-worker\.mjs --timeout 20s$/m);
  });

  it('the count is one of the job file, of its start, or NUM_WORKERS', async (t) => {
    for (const [overrides, count] of [
      [{}, 2],
      [{ COUNT: '3' }, 3],
      [{ NUM_WORKERS: '1' }, 1],
    ] as const) {
      const { player, env } = await play(t, new Trial(t, redis), '--count', '2');
      player.start({ ...env, ...overrides });
      await player.line('starting', { count });
      await player.stop();
      assert.deepEqual([player.ends, player.wasKilled], [[0], false]);
    }
  });

  it('a stop hands back what is unfinished, well before it would be killed', async (t) => {
    const trial = new Trial(t, redis);
    const { player, env } = await play(t, trial, '--count', '1', '--timeout', '1s');
    player.start(env);
    const id = await trial.add({ first: { ms: 600_000 } });
    await running(redis, trial.queue, id);
    await player.stop();
    assert.deepEqual([player.ends, player.wasKilled], [[0], false]);
    assert.equal(await trial.queue.getJobState(id), 'waiting');
    player.start(env);
    await noJobLost({ redis, jobs: [{ queue: trial.queue, ids: trial.ids }] });
    await player.stop();
  });

  it('a master that is killed is respawned, and releases what it held', async (t) => {
    const trial = new Trial(t, redis);
    const { player, env } = await play(t, trial, '--count', '1', '--timeout', '1s');
    player.start(env);
    const id = await trial.add({ first: { ms: 600_000 } });
    await running(redis, trial.queue, id);
    await waitFor(
      'its child is in the registry with its queue',
      async () => (await trial.command('ps', '--json')).stdout.includes('tokenPrefix'),
      A_COMMAND_EACH,
    );
    process.kill(player.pid, 'SIGKILL');
    await waitFor('it is respawned', () => player.pids.length === 2);
    await noJobLost({ redis, jobs: [{ queue: trial.queue, ids: trial.ids }] });
    assert.equal((await trial.counters(id)).stalled, 0);
    await player.stop();
    assert.deepEqual(player.ends, ['SIGKILL', 0]);
  });

  it('a reload rolls', async (t) => {
    const trial = new Trial(t, redis);
    const { player, env } = await play(t, trial, '--count', '2');
    player.start(env);
    await ready(player, 2);
    player.reload();
    await player.line('rolled', { generation: 1 });
    await player.stop();
    assert.deepEqual(player.ends, [0]);
  });

  it('bad configuration is not tried again', async (t) => {
    const { player, env } = await play(t, new Trial(t, redis), '--count', '2');
    player.start({ ...env, COUNT: 'many' });
    await waitFor('it has ended', () => player.ends.length > 0);
    assert.deepEqual([player.ends, player.pids.length], [[64], 1]);
  });
});
