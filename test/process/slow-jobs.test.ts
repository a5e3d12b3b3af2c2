/** `swarm jobs --slow`, and that what is usual outlives the children that have shown it. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { MasterRecord, SlowJob } from '../../packages/swarm/dist/registry/schema.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { Trial } from '../support/trial.js';
import { waitFor } from '../support/wait.js';

let redis: TestRedis;

before(async () => {
  redis = await startRedis();
});

after(() => redis.close());

describe('swarm jobs --slow', () => {
  it('shows a job as a multiple of what jobs of its name took, in a child that is gone by then', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1);
    const [first] = await swarm.ready(1);
    await trial.addMany(5, { ms: 100 });
    const read = async <T>(...words: string[]): Promise<T> => {
      return JSON.parse((await trial.command(...words, '--json')).stdout) as T;
    };
    await waitFor('the registry knows what is usual', async () => {
      const [master] = await read<MasterRecord[]>('ps');
      return master?.jobDurations[0]?.runs === 5;
    });
    process.kill(first as number, 'SIGKILL');
    await swarm.line('exited', { pid: first as number });

    const id = await trial.add({ ms: 20_000 });
    const { pid } = await trial.runs(id);
    const slow = await waitFor('it is slow', async () => {
      const [job] = await read<SlowJob[]>('jobs', '--slow');
      return job?.pid === pid && (job.multiple ?? 0) > 10 ? job : null;
    });
    assert.ok(slow.usualMs !== null && slow.usualMs >= 90 && slow.usualMs < 2_000, String(slow.usualMs));
    const { stdout } = await trial.command('jobs', '--slow');
    assert.match(stdout, /^ *TIMES .*\n *\d+× /);
  });
});
