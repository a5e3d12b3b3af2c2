/** Jobs that do not end in their time, although the loop of their child turns. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openQueue } from '../support/jobs.js';
import { project } from '../support/programs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { StuckTrial } from '../support/stuck-trial.js';
import type { Swarm } from '../support/swarm.js';
import { MAJORS } from '../support/tier.js';
import { waitFor } from '../support/wait.js';

const APP = { app: 'timeout-worker.mjs' };
const OVERDUE = 'job past its time';

function limits(action: 'dump' | 'abort' | 'kill', timeout = '2s'): string[] {
  return ['--job-timeout', timeout, '--job-timeout-action', action];
}

function restarts(swarm: Swarm): number {
  return swarm.all('exited').length;
}

describe('a job past its time', { concurrency: 2 }, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  it('is dumped, with what it may wait for, and goes on', async (t) => {
    let answer: () => void = () => {};
    const server = createServer((_, response) => {
      answer = () => response.end('late');
    });
    t.after(() => server.closeAllConnections());
    t.after(() => server.close());
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;

    const trial = new StuckTrial(t, redis);
    const swarm = trial.start(1, { app: 'stuck-worker.mjs', args: ['--job-timeout', '1s'] });
    await swarm.ready(1);
    const id = await trial.add({ hang: 'fetch', url: `http://127.0.0.1:${port}/users?token=1` });
    const { pid } = await trial.runs(id);
    const dump = await trial.dumpOf(pid);
    assert.deepEqual([dump.trigger, dump.kind, dump.job?.id], ['job-timeout', 'job', id]);
    assert.ok(dump.io.some(({ what }) => what.includes(`127.0.0.1:${port}/users`)));
    answer();
    await trial.nothingLost(new Map([[swarm, 1]]));
    assert.equal(restarts(swarm), 0);
    assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 1, stalled: 0 });
  });

  it('fails with what it waits for itself, without secrets, and with nothing of its neighbours', async (t) => {
    const server = createServer(() => {});
    t.after(() => server.closeAllConnections());
    t.after(() => server.close());
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const trial = new StuckTrial(t, redis);
    const swarm = trial.start(1, {
      app: 'stuck-worker.mjs',
      args: limits('kill', '3s'),
      env: { APP_CONCURRENCY: '2' },
    });
    await swarm.ready(1);
    const fetching = await trial.add({
      hang: 'fetch',
      url: `http://127.0.0.1:${port}/users/s3cret/x?token=s3cret`,
    });
    // the only one when it begins: so it is known whose the request is, on any Node
    await trial.runs(fetching);
    await waitFor('it asks', async () => (await connectionsOf(server)) > 0);
    const waiting = await trial.add({ hang: 'never' });
    await trial.runs(waiting);
    const reasonOf = async (id: string): Promise<string> =>
      waitFor(`${id} fails`, async () => (await trial.queue.getJob(id))?.failedReason);
    assert.match(
      await reasonOf(fetching),
      new RegExp(`it may wait for GET http://127\\.0\\.0\\.1:${port}/users/… \\(sent, no answer yet`),
    );
    const reason = await reasonOf(waiting);
    assert.match(reason, /the loop turns, and the job does not end: it has begun no request/);
    assert.doesNotMatch(reason, /http:/);
    const dumps = await trial.dumps();
    assert.ok(dumps.length > 0);
    assert.doesNotMatch(JSON.stringify([dumps, swarm.lines]), /s3cret/);
    assert.equal(await swarm.stop(), 0);
  });

  for (const major of [5, 6] as const) {
    it(`is told to abort by the signal of bullmq ${major}, and nobody is killed for it`, async (t) => {
      const trial = new StuckTrial(t, redis, { major });
      const modules = { bullmq: major === 6 ? 'bullmq' : 'bullmq5' };
      const directory = await project(t, { 'worker.mjs': APP }, modules);
      const swarm = trial.start(1, { app: join(directory, 'worker.mjs'), args: limits('abort') });
      await swarm.ready(1);
      const id = await trial.add({ hang: true, heeds: true });
      await swarm.line('job told to abort');
      await trial.nothingLost(new Map([[swarm, 1]]));
      const reason = (await trial.queue.getJob(id))?.failedReason ?? '';
      assert.match(
        reason,
        /^heeded: job timeout: it had not ended after [\d.]+ s \(its limit: 2 s\); the loop turns/,
      );
      assert.equal(restarts(swarm), 0);
    });
  }

  it('and that does not heed its signal is given up: its child is killed, it fails, and is tried again', async (t) => {
    const trial = new StuckTrial(t, redis);
    const swarm = trial.start(2, { ...APP, args: limits('abort') });
    await swarm.ready(2);
    const id = await trial.add({ hang: true }, { attempts: 2 });
    const { pid } = await trial.runs(id);
    const aborted = await swarm.line('job told to abort');
    const exited = await swarm.line('exited', { pid });
    assert.equal(exited['cause'], 'job-timeout');
    assert.ok(Date.parse(exited.time) - Date.parse(aborted.time) >= 4_000, 'it had time to settle');
    const second = await trial.runs(id, 2);
    assert.ok(second.atMs >= Date.parse(exited.time) - 1_000);
    await trial.nothingLost(new Map([[swarm, 2]]));
    assert.deepEqual(await trial.counters(id), { attempts: 2, starts: 2, stalled: 0 });
  });

  for (const major of MAJORS) {
    it(`is killed when its neighbours have drained, fails, and is tried again, on bullmq ${major}`, async (t) => {
      const trial = new StuckTrial(t, redis, { major });
      const modules = { bullmq: major === 6 ? 'bullmq' : 'bullmq5' };
      const directory = await project(t, { 'worker.mjs': APP }, modules);
      const env = { APP_CONCURRENCY: '3' };
      const swarm = trial.start(1, { app: join(directory, 'worker.mjs'), args: limits('kill', '8s'), env });
      await swarm.ready(1);
      const id = await trial.add({ hang: true }, { attempts: 2 });
      const { pid } = await trial.runs(id);
      await swarm.line(OVERDUE, { action: 'kill' });
      // begun beside it, and longer than its replacement takes to come up
      const neighbour = await trial.add({ ms: 5_000 });
      assert.equal((await trial.runs(neighbour)).pid, pid);
      const ended = await swarm.line(`ends ${neighbour}`, { pid });
      const exited = await swarm.line('exited', { pid });
      assert.ok(ended.time <= exited.time);
      assert.deepEqual([exited['cause'], exited['signal']], ['job-timeout', 'SIGKILL']);
      await trial.runs(id, 2);
      await trial.nothingLost(new Map([[swarm, 1]]));
      assert.deepEqual(await trial.counters(id), { attempts: 2, starts: 2, stalled: 0 });
      assert.deepEqual(await trial.counters(neighbour), { attempts: 1, starts: 1, stalled: 0 });
      const death = await trial.deathOf(pid);
      const { outcome, blame } = death.jobs.find((job) => job.id === id) ?? {};
      assert.deepEqual([outcome, blame], ['failed', { exact: 0, shared: 0 }]);
      assert.equal(death.dump?.kind, 'job');
    });
  }

  it('fails for good when its attempts are used up, with what was seen as the reason', async (t) => {
    const trial = new StuckTrial(t, redis);
    const swarm = trial.start(2, { ...APP, args: limits('kill') });
    await swarm.ready(2);
    const id = await trial.add({ hang: true });
    await trial.nothingLost(new Map([[swarm, 2]]));
    const job = await trial.queue.getJob(id);
    assert.match(
      job?.failedReason ?? '',
      /^job timeout: it had not ended after [\d.]+ s \(its limit: 2 s\); the loop turns, and the job does not end: /,
    );
    assert.match(job?.stacktrace?.[0] ?? '', /^JobTimeoutError: job timeout/);
    await swarm.line(`failed ${id}`);
    assert.equal(swarm.all(`runs ${id}`).length, 1);
  });

  it('that blocks its loop is named with its stack, and killed without a drain', async (t) => {
    const trial = new StuckTrial(t, redis);
    const args = [...limits('kill', '3s'), '--stuck-after', '2s', '--stuck-kill-after', '60s'];
    const swarm = trial.start(2, { ...APP, args, env: { APP_CONCURRENCY: '2' } });
    await swarm.ready(2);
    const id = await trial.add({ spin: true });
    const { pid } = await trial.runs(id);
    const exited = await swarm.line('exited', { pid });
    assert.equal(exited['cause'], 'job-timeout');
    await trial.nothingLost(new Map([[swarm, 2]]));
    assert.match(
      (await trial.queue.getJob(id))?.failedReason ?? '',
      /in spinForever \(.*timeout-worker\.mjs:/,
    );
  });

  it('is what its queue says in a swarm app, whatever the option says', async (t) => {
    const trial = new StuckTrial(t, redis);
    const slow = openQueue(redis, `${trial.queue.name}-slow`);
    t.after(() => slow.close());
    const args = [...limits('abort', '1s'), '--concurrency', '5'];
    const swarm = trial.start(1, { app: 'timeout-app.mjs', args });
    await swarm.ready(1);
    const unlimited = await slow.add('job', { ms: 9_000 });
    const heeds = await trial.add({ heeds: true });
    const hangs = await trial.add({ hang: true }, { attempts: 2 });
    await trial.runs(hangs, 2);
    await trial.nothingLost(new Map([[swarm, 1]]));
    assert.equal((await trial.queue.getJob(heeds))?.failedReason, 'The operation was aborted');
    assert.deepEqual(await trial.counters(hangs), { attempts: 2, starts: 2, stalled: 0 });
    await waitFor('the job without a limit is completed', async () => slow.getCompletedCount());
    assert.equal((await slow.getJob(unlimited.id as string))?.attemptsStarted, 1);
    const overdue = swarm.all(OVERDUE).map((line) => line['job']);
    assert.deepEqual(overdue.sort(), [heeds, hangs].map((id) => `${trial.queue.name}/${id}`).sort());
  });

  it('is handed back like any other when the master stops', async (t) => {
    const trial = new StuckTrial(t, redis);
    const slow = openQueue(redis, `${trial.queue.name}-slow`);
    t.after(() => slow.close());
    const args = [...limits('kill'), '--timeout', '3s', '--concurrency', '2'];
    const swarm = trial.start(1, { app: 'timeout-app.mjs', args });
    await swarm.ready(1);
    const { id: neighbour } = await slow.add('job', { ms: 600_000 });
    const id = await trial.add({ hang: true });
    await swarm.line('job given up: its child drains, is killed, and then it fails');
    assert.equal(await swarm.stop(), 0);
    assert.deepEqual(await trial.counters(id), { attempts: 0, starts: 1, stalled: 0 });
    assert.deepEqual(
      [await trial.queue.getJobState(id), await slow.getJobState(neighbour as string)],
      ['waiting', 'waiting'],
    );
  });
});

function connectionsOf(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.getConnections((error, count) => (error ? reject(error) : resolve(count)));
  });
}
