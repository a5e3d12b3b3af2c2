/** Apps of `defineApp`, on both majors of bullmq. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import type { MasterRecord } from '../../packages/swarm/dist/registry/schema.js';
import {
  assertRecovers,
  GatedJob,
  project,
  startSwarm,
  temporaryDirectory,
  useQueue,
} from '../support/programs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { type Swarm, type SwarmOptions, swarmCommand } from '../support/swarm.js';
import { fullDescribe, fullIt } from '../support/tier.js';
import { waitFor } from '../support/wait.js';

let redis: TestRedis;

before(async () => {
  redis = await startRedis();
});

after(() => redis.close());

interface AppUse extends SwarmOptions {
  major?: 5 | 6;
  /** Of its queues; each test has its own. */
  prefix: string;
}

async function startApp(t: TestContext, { major = 6, prefix, args = [], env = {} }: AppUse): Promise<Swarm> {
  const modules = { bullmq: major === 6 ? 'bullmq' : 'bullmq5', 'bullmq-swarm': '../packages/swarm' };
  const directory = await project(t, { 'app.mjs': { app: 'swarm-app.mjs' } }, modules);
  return startSwarm(t, join(directory, 'app.mjs'), { redis, args: ['--prefix', prefix, ...args], env });
}

/** What its children printed, in order. */
function printed(swarm: Swarm, stream: 'stdout' | 'stderr' = 'stdout'): string[] {
  return swarm.lines.filter((line) => line.stream === stream).map(({ message }) => message);
}

describe('a swarm app', { concurrency: 2 }, () => {
  for (const major of [5, 6] as const) {
    (major === 6 ? it : fullIt)(
      `runs its queues, and loses no job to a kill, on bullmq ${major}`,
      async (t) => {
        const prefix = `both-${major}`;
        const mail = useQueue(t, redis, 'mail', { prefix, major });
        const reports = useQueue(t, redis, 'reports', { prefix, major });
        const swarm = await startApp(t, { major, prefix, args: ['--count', '2', '-c', '1'] });
        await swarm.ready(2);
        assert.match(String((await swarm.line('ready')).bullmq), major === 5 ? /^5\./ : /^6\./);

        const digest = await GatedJob.add(t, mail, 'digest');
        await digest.open();
        assert.equal((await digest.result())['booted'], true);

        const unknown = await mail.add('welcom', {});
        await waitFor('it failed', async () => (await mail.getFailedCount()) === 1);
        const reason = (await mail.getJob(unknown.id as string))?.failedReason;
        assert.equal(
          reason,
          'queue mail has no processor for jobs named "welcom", only for welcome, digest, untilTaken',
        );

        await assertRecovers(t, swarm, reports);
      },
    );
  }

  fullIt('takes jobs once boot() is done, and closes what it opened after the drain', async (t) => {
    const prefix = 'boots';
    const reports = useQueue(t, redis, 'reports', { prefix });
    const job = await GatedJob.add(t, reports);
    const gate = join(await temporaryDirectory(t), 'gate');
    const env = { SWARM_NAMESPACE: prefix, APP_BOOT_GATE: gate };
    const swarm = await startApp(t, { prefix, args: ['--count', '1'], env });
    await swarm.line('booting');
    const { stdout } = await swarmCommand(['ps', '--json', '--redis', redis.url], { env });
    const [master] = JSON.parse(stdout) as MasterRecord[];
    assert.deepEqual([master?.state, master?.children.map(({ state }) => state)], ['starting', ['starting']]);
    assert.equal(await reports.getJobState(job.id), 'waiting');
    await writeFile(gate, '');
    await job.runner();
    swarm.kill('SIGTERM');
    await swarm.line('draining', { busy: 1 });
    await job.open();
    assert.equal(await swarm.exited(), 0);
    assert.deepEqual(printed(swarm), ['booting', 'booted', `done ${job.id}`, 'closed']);
    assert.equal((await job.result()).attemptsMade, 0);
  });

  it('is told by its signal that a job was handed back', async (t) => {
    const prefix = 'handed-back';
    const mail = useQueue(t, redis, 'mail', { prefix });
    const swarm = await startApp(t, { prefix, args: ['--count', '1', '--timeout', '200ms'] });
    await swarm.ready(1);
    const job = await GatedJob.add(t, mail, 'untilTaken');
    await job.runner();
    assert.equal(await swarm.stop(), 0);
    assert.deepEqual(printed(swarm), [
      'booting',
      'booted',
      'taken: the job was handed back: its child stops',
      'closed',
    ]);
    assert.equal((await swarm.line('handed back')).jobs, `mail/${job.id}`);
    const { attemptsMade, stalledCounter } = await job.read();
    assert.deepEqual([await mail.getJobState(job.id), attemptsMade, stalledCounter], ['waiting', 0, 0]);
  });

  fullIt('works on the queues of --queue alone, weighted or not, five jobs at once', async (t) => {
    const prefix = 'chosen';
    const [mail, reports, exports] = ['mail', 'reports', 'exports'].map((name) =>
      useQueue(t, redis, name, { prefix }),
    );
    assert.ok(mail && reports && exports);
    const swarm = await startApp(t, { prefix, args: ['--count', '1', '--queue', 'reports', '-q', 'mail,2'] });
    await swarm.ready(1);
    const unserved = await GatedJob.add(t, exports);
    const jobs = await Promise.all(Array.from({ length: 7 }, () => GatedJob.add(t, reports)));
    await waitFor('five jobs run', async () => (await reports.getActiveCount()) >= 5);
    for (const job of jobs) await job.open();
    await waitFor('all jobs are done', async () => (await reports.getCompletedCount()) === jobs.length);
    const ran = await reports.getCompleted();
    const firstEnd = Math.min(...ran.map(({ finishedOn }) => finishedOn as number));
    assert.equal(ran.filter(({ processedOn }) => (processedOn as number) < firstEnd).length, 5);

    const welcome = await GatedJob.add(t, mail, 'welcome');
    await welcome.open();
    await welcome.result();
    assert.equal(await exports.getJobState(unserved.id), 'waiting');
  });
});

// they mostly wait for the next try
fullDescribe('what cannot boot', { concurrency: 3 }, () => {
  fullIt('is an app without a queue that --queue names', async (t) => {
    const swarm = await startApp(t, { prefix: 'unknown', args: ['--count', '2', '-q', 'mails'] });
    assert.equal(await swarm.exited(), 64);
    assert.match(
      swarm.stderr,
      /^swarm: SWARM_UNKNOWN_QUEUE: the list of queues \(.*\) names "mails", but the app defines mail, reports, exports: did you mean mail\?$/m,
    );
    assert.equal(swarm.all('spawned').length, 2, 'nobody tries again');
  });

  fullIt('is an app whose boot() throws, which ends the master with the app’s own error', async (t) => {
    const swarm = await startApp(t, {
      prefix: 'throws',
      args: ['--count', '1'],
      env: { APP_BOOT_FAILS: 'yes' },
    });
    assert.equal(await swarm.exited(), 70);
    assert.match(
      swarm.stderr,
      /^swarm: SWARM_APP_FAILED: .*\nTypeError: no database today\n +at Object\.boot \(.*app\.mjs:\d+/m,
    );
    assert.equal(swarm.all('spawned').length, 3);
    assert.equal(swarm.all('app failed at boot', { error: 'no database today' }).length, 3);
  });

  fullIt('is a program that chooses its queues itself, under --queue', async (t) => {
    const swarm = startSwarm(t, 'esm.mjs', { redis, args: ['--count', '1', '-q', 'work'] });
    assert.equal(await swarm.exited(), 64);
    assert.match(swarm.stderr, /SWARM_QUEUE_NEEDS_APP: --queue \(work\) is for apps of defineApp\(\)/);
  });
});
