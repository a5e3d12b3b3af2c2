/** `swarm config --of`, of a master that runs. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startRedis, type TestRedis } from '../support/redis.js';
import { Trial } from '../support/trial.js';

type Shown = Record<string, { value: unknown; origin: string }>;

describe('the configuration of a running master', () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  it('is what it was started with, not what this shell has', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1, { args: ['--timeout', '7s', '--max-memory', '1GB', '--label', 'blue'] });
    await swarm.ready(1);
    const { code, stdout, stderr } = await trial.command('config', '--of', String(swarm.pid), '--json');
    assert.equal(code, 0, stderr);
    const shown = JSON.parse(stdout) as Shown;
    assert.deepEqual(
      ['timeout', 'maxMemory', 'labels', 'count', 'namespace'].map((name) => shown[name]?.value),
      ['7s', '1GB', ['blue'], 1, trial.namespace],
    );
    assert.equal((await trial.command('scale', String(swarm.pid), '2')).code, 0);
    const { stdout: table } = await trial.command('config', '--of', String(swarm.pid));
    assert.match(table, /^timeout +7s +at its start$/m);
    assert.match(table, /^count +2 +now$/m);

    const nobody = await trial.command('config', '--of', 'nobody', '--json');
    assert.equal(nobody.code, 64);
    assert.match(nobody.stderr, /SWARM_NO_TARGET/);
    const both = await trial.command('config', '--of', String(swarm.pid), '--count', '8');
    assert.equal(both.code, 64);
    assert.match(both.stderr, /SWARM_BAD_OF: --of shows what a running master has.* got --count/);
  });
});
