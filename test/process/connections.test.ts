/** The connections of a fleet are said at start, and are those that Redis counts. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startRedis, type TestRedis } from '../support/redis.js';
import { Trial } from '../support/trial.js';

describe('connections to Redis', () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  it('are counted by child and in all', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(3);
    await swarm.ready(3);
    const said = await swarm.line('connections to Redis');
    const { children, per_child: perChild, master, in_all: inAll, maxclients } = said;
    assert.deepEqual([children, maxclients], [3, 10_000]);
    assert.equal(inAll, Number(master) + 3 * Number(perChild));
    const clients = String(await redis.client.client('LIST'))
      .trim()
      .split('\n');
    const others = clients.filter((line) => !/ name=(swarm-master|bull:)/.test(line)).length;
    t.diagnostic(`${JSON.stringify(said)}; ${clients.length} clients, ${others} without a name`);
    assert.ok(clients.length >= Number(inAll) && clients.length - Number(inAll) <= others);
    assert.equal(
      swarm.lines.some(({ code }) => code === 'SWARM_REDIS_FEW_CLIENTS'),
      false,
    );
    await swarm.stop();
  });

  it('too few that Redis allows are warned of', async (t) => {
    const trial = new Trial(t, redis);
    await redis.client.config('SET', 'maxclients', '13');
    t.after(() => redis.client.config('SET', 'maxclients', '10000'));
    const swarm = trial.start(4);
    await swarm.ready(4);
    await swarm.line('connections to Redis', { maxclients: 13 });
    const warned = swarm.lines.filter(({ code }) => code === 'SWARM_REDIS_FEW_CLIENTS');
    assert.ok(warned.length > 0, 'before or after the start');
    await swarm.stop();
  });
});
