/** What an unmodified program sees of swarm, and what becomes of its own handlers, limits and connections. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, it, type TestContext } from 'node:test';
import { GatedJob, project, startSwarm, useQueue } from '../support/programs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { appPath, type Swarm } from '../support/swarm.js';
import { waitFor } from '../support/wait.js';

const ONE = ['--count', '1'];

let redis: TestRedis;
let queues: TestRedis;

before(async () => {
  [redis, queues] = await Promise.all([startRedis(), startRedis()]);
});

after(() => Promise.all([redis.close(), queues.close()]));

/** The same program without swarm. */
function runPlain(
  t: TestContext,
  app: string,
  { port }: TestRedis,
  queue: string,
  args: readonly string[] = [],
): ChildProcess {
  const env = { ...process.env, QUEUE_REDIS_PORT: String(port), APP_QUEUE: queue };
  const program = spawn(process.execPath, [app, ...args], { stdio: ['ignore', 'pipe', 'inherit'], env });
  t.after(async () => {
    if (program.exitCode !== null || program.signalCode !== null) return;
    program.kill('SIGKILL');
    await once(program, 'exit');
  });
  return program;
}

/** The lines that a child printed. */
function printed(swarm: Swarm): string[] {
  return swarm.lines.filter(({ stream }) => stream === 'stdout').map(({ message }) => message);
}

describe('the surroundings of a program', { concurrency: 3 }, () => {
  for (const app of ['surroundings.mjs', 'surroundings.cjs']) {
    it(`are those of \`node ${app}\``, async (t) => {
      const args = ['--region', 'eu', '-c', '--count=9', 'a b', ''];
      const plain = runPlain(t, appPath(app), queues, 'plain', args);
      const [chunk] = (await once(plain.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
      const expected: unknown = JSON.parse(String(chunk).split('\n')[0] as string);
      const swarm = startSwarm(t, app, { redis, queues, args: [...ONE, '--', ...args] });
      await swarm.ready(1);
      assert.deepEqual(JSON.parse(printed(swarm)[0] as string), expected);
    });
  }

  it('are those of the group, with what swarm adds', async (t) => {
    const directory = await project(t, {
      'app.mjs': { app: 'surroundings.mjs' },
      'swarm.config.json': '{ "groups": { "mail": { "count": 1, "env": { "MAILER": "smtp" } } } }',
    });
    const swarm = startSwarm(t, null, {
      redis,
      queues,
      cwd: directory,
      args: ['app.mjs'],
      env: { OWN: 'kept' },
    });
    await swarm.ready(1);
    const { env } = JSON.parse(printed(swarm)[1] as string) as { env: NodeJS.ProcessEnv };
    const pid = [...swarm.children.values()][0];
    const { MAILER, OWN, MALLOC_ARENA_MAX, SWARM_SLOT, SWARM_GENERATION, SWARM_COUNT, SWARM_MASTER_PID } =
      env;
    assert.deepEqual(
      { MAILER, OWN, MALLOC_ARENA_MAX },
      { MAILER: 'smtp', OWN: 'kept', MALLOC_ARENA_MAX: '2' },
    );
    assert.deepEqual(
      [SWARM_SLOT, SWARM_GENERATION, SWARM_COUNT, SWARM_MASTER_PID],
      ['0', '0', '1', String(swarm.pid)],
    );
    assert.match(env['SWARM_IDENTITY'] as string, new RegExp(`^.+:${pid}:[0-9a-f]{8}$`));
    assert.equal(env['SWARM_REDIS_URL'], redis.url);
    // it is not the embedded one's: the program asks for a Redis of its own
    assert.deepEqual([env['REDIS_URL'], env['SWARM_CHILD']], [undefined, undefined]);
  });
});

describe('the handlers of a program', () => {
  it('for TERM and INT run once, after the drain, whatever signals come', async (t) => {
    const swarm = startSwarm(t, 'handlers.cjs', { redis, queues, queue: 'handlers', args: ONE });
    const [pid] = (await swarm.ready(1)) as [number];
    const job = await GatedJob.add(t, useQueue(t, queues, 'handlers'));
    await job.runner();
    // as a platform does: to all processes, more than once
    for (const signal of ['SIGTERM', 'SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.kill(pid, signal);
    swarm.kill('SIGTERM');
    await swarm.line('draining', { busy: 1 });
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.kill(pid, signal);
    swarm.kill('SIGTERM');
    await job.open();
    assert.equal(await swarm.exited(), 0);
    assert.deepEqual(printed(swarm), [`done ${job.id}`, 'shutdown by SIGTERM', 'worker closed']);
    assert.equal((await job.result()).pid, pid);
    assert.equal((await swarm.line('exited')).cause, 'stopped');
  });
});

describe('the concurrency of a program', () => {
  /** Of these jobs, so many ran before the first one ended. */
  async function assertAtOnce(t: TestContext, name: string, jobs: number, atOnce: number): Promise<void> {
    const queue = useQueue(t, queues, name);
    const added = await Promise.all(Array.from({ length: jobs }, () => GatedJob.add(t, queue)));
    await waitFor(`${atOnce} jobs of ${name} run`, async () => (await queue.getActiveCount()) >= atOnce);
    for (const job of added) await job.open();
    await waitFor('all are done', async () => (await queue.getCompletedCount()) === jobs);
    const ran = await queue.getCompleted();
    const firstEnd = Math.min(...ran.map(({ finishedOn }) => finishedOn as number));
    assert.equal(ran.filter(({ processedOn }) => (processedOn as number) < firstEnd).length, atOnce);
  }

  it('is its own', async (t) => {
    const swarm = startSwarm(t, 'several-workers.cjs', { redis, queues, queue: 'own', args: ONE });
    await swarm.ready(1);
    await Promise.all([assertAtOnce(t, 'own-mail', 3, 1), assertAtOnce(t, 'own-reports', 4, 2)]);
  });

  it('is that of -c in each Worker, when it is given', async (t) => {
    const swarm = startSwarm(t, 'several-workers.cjs', {
      redis,
      queues,
      queue: 'given',
      args: [...ONE, '-c', '3'],
    });
    await swarm.ready(1);
    await Promise.all([assertAtOnce(t, 'given-mail', 5, 3), assertAtOnce(t, 'given-reports', 5, 3)]);
  });
});

describe('the connections of a program', () => {
  it('are as many as without swarm, also after a release', async (t) => {
    const own = await startRedis();
    t.after(() => own.close());
    const queue = useQueue(t, own, 'connections-mail');
    await queue.waitUntilReady();
    const ids = async (): Promise<string[]> => {
      const list = String(await own.client.client('LIST'));
      return [...list.matchAll(/^id=(\d+) /gm)].map(([, id]) => id as string);
    };
    const ours = await ids();
    const connections = async (): Promise<number> => (await ids()).filter((id) => !ours.includes(id)).length;
    const settled = (count: number) =>
      waitFor(`${count} connections`, async () => (await connections()) === count, { timeoutMs: 10_000 });

    const plain = runPlain(t, appPath('several-workers.cjs'), own, 'connections');
    // two for each of its Workers
    await settled(4);
    plain.kill('SIGKILL');
    await settled(0);
    const args = ['--count', '2'];
    const swarm = startSwarm(t, 'several-workers.cjs', { redis, queues: own, queue: 'connections', args });
    await swarm.ready(2);
    await settled(8);

    const job = await GatedJob.add(t, queue);
    const pid = await job.runner();
    process.kill(pid, 'SIGKILL');
    await job.runner(pid);
    await job.open();
    await job.result();
    await swarm.line('ready', {}, { nth: 3 });
    await settled(8);
  });
});
