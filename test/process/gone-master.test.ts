/** What `swarm ps` says of a killed master before its beat is late. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { hostname } from 'node:os';
import { after, before, describe, it } from 'node:test';
import type { MasterRecord } from '../../packages/swarm/dist/registry/schema.js';
import { otherHost, whyNoOtherHost } from '../support/other-host.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { BIN, cleanEnv } from '../support/swarm.js';
import { Trial } from '../support/trial.js';

describe('a master that was killed', { concurrency: 2 }, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  it('is stale at once on its own host, and takes no commands', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1);
    await swarm.ready(1);
    const ps = async () => JSON.parse((await trial.command('ps', '--json')).stdout) as MasterRecord[];
    assert.deepEqual(
      (await ps()).map(({ pid, stale }) => [pid, stale]),
      [[swarm.pid, false]],
    );
    swarm.kill('SIGKILL');
    await swarm.exited();
    const [entry = ''] = await redis.client.keys(`swarm:{${trial.namespace}}:master:*`);
    // on a slow machine the beat would tell of it as well
    const beatNow = () => redis.client.hset(entry, 'beatAtMs', String(Date.now()));
    await beatNow();
    const masters = await ps();
    await beatNow();
    const text = (await trial.command('ps')).stdout;
    await beatNow();
    const refused = await trial.command('quiet', String(swarm.pid));
    assert.deepEqual(
      masters.map(({ pid, stale }) => [pid, stale]),
      [[swarm.pid, true]],
    );
    assert.match(text, /STALE for .*\(was up\)/);
    assert.equal(refused.code, 64);
    assert.match(refused.stderr, /is stale: its process is gone/);
  });

  it('and one that lives is not, seen from a pid namespace of the same host name where its pid is nobody', async (t) => {
    const why = whyNoOtherHost();
    if (why !== null) return t.skip(why);
    const trial = new Trial(t, redis);
    const swarm = trial.start(1);
    await swarm.ready(1);
    const { command } = await otherHost(t, hostname());
    const [program = '', ...words] = [...command, process.execPath, BIN, 'ps', '--json'];
    const where = ['--redis', redis.url, '--namespace', trial.namespace];
    const { stdout, stderr } = spawnSync(program, [...words, ...where], {
      encoding: 'utf8',
      env: cleanEnv(),
    });
    assert.notEqual(stdout, '', stderr);
    const masters = JSON.parse(stdout) as MasterRecord[];
    assert.deepEqual(
      masters.map(({ pid, stale, host }) => [pid, stale, host]),
      [[swarm.pid, false, hostname()]],
    );
  });
});
