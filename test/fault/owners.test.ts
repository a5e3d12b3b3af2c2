/** Faults 18 and 35: a job has two who think it theirs; a host has two masters, or seems to. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { running, tokenOf } from '../support/jobs.js';
import { isAlive } from '../support/processes.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import type { Swarm } from '../support/swarm.js';
import { Trial } from '../support/trial.js';
import { waitFor } from '../support/wait.js';

const PREDECESSOR = 'a master that ran on this host left jobs behind; they are released';

describe('owners', { concurrency: 3 }, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  it('a stale one finishes after its job was taken from it: the job ends once', async (t) => {
    const trial = new Trial(t, redis);
    const env = { APP_WORKER_OPTIONS: JSON.stringify({ lockDuration: 1_000, stalledInterval: 500 }) };
    const swarm = trial.start(2, { env });
    const pids = await swarm.ready(2);
    const id = await trial.add({ first: { ms: 1_000 } });
    const stale = await trial.runs(id);
    process.kill(stale.pid, 'SIGSTOP');
    const next = await trial.runs(id, 2);
    assert.notEqual(next.pid, stale.pid);
    await waitFor('the next owner ends it', async () => (await trial.queue.getJobState(id)) === 'completed');
    await goesOn(trial, stale.pid);
    await trial.nothingLost(new Map([[swarm, 2]]));
    assert.deepEqual((await trial.queue.getJob(id))?.returnvalue.pid, next.pid);
    assert.deepEqual([...swarm.children.values()].sort(), [...pids].sort());
  });

  it('a living one, whose job a successor releases by mistake: the job ends once', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1);
    await swarm.ready(1);
    const id = await trial.add({ first: { ms: 1_000 } });
    const { pid } = await trial.runs(id);
    await registered(trial, swarm, 1);
    // so that it cannot end the job before the successor is there
    process.kill(pid, 'SIGSTOP');
    // a dead master's entry that holds what is the living one's
    await edit(trial, swarm, { info: { pid: 2 ** 22 + 1 }, child: { pid: 2 ** 22 + 2 } }, 'somebody:1:dead');
    const successor = trial.start(1);
    const next = await trial.runs(id, 2);
    await waitFor('the next owner ends it', async () => (await trial.queue.getJobState(id)) === 'completed');
    await goesOn(trial, pid);
    await trial.nothingLost(
      new Map([
        [swarm, 1],
        [successor, 1],
      ]),
    );
    assert.equal((await trial.queue.getJob(id))?.returnvalue.pid, next.pid);
  });

  it('two masters of one app on a host: each minds its own children', async (t) => {
    const trial = new Trial(t, redis);
    const [first, second] = [trial.start(1), trial.start(1)];
    const [firstPid = 0] = await first.ready(1);
    const [secondPid = 0] = await second.ready(1);
    const ids = await trial.addMany(2, { first: { ms: 600_000 } });
    const ran = await Promise.all(ids.map((id) => trial.runs(id)));
    const idOfFirst = ids[ran.findIndex(({ pid }) => pid === firstPid)] as string;
    const idOfSecond = ids.find((id) => id !== idOfFirst) as string;
    const token = await running(redis, trial.queue, idOfSecond);

    process.kill(firstPid, 'SIGKILL');
    const again = await trial.runs(idOfFirst, 2);
    assert.equal(again.pid, first.children.get(0));
    for (const pid of [first.pid, -again.pid]) process.kill(pid, 'SIGKILL');
    const third = trial.start(1);
    const said = await third.line(PREDECESSOR);
    assert.equal(said['master'], (await first.line('starting'))['identity']);
    await third.line('a predecessor is accounted for');
    assert.equal(third.all(PREDECESSOR).length, 1);

    assert.equal(await tokenOf(redis, trial.queue, idOfSecond), token, 'the second goes on with its job');
    assert.ok(isAlive(second.pid) && isAlive(secondPid));
    process.kill(secondPid, 'SIGKILL');
    await trial.nothingLost(
      new Map([
        [second, 1],
        [third, 1],
      ]),
    );
  });

  it('pids that belong to somebody else now: jobs are released, nobody is killed', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1);
    await swarm.ready(1);
    const id = await trial.add({ first: { ms: 600_000 } });
    await trial.runs(id);
    await registered(trial, swarm, 1);
    await killAll(swarm);
    const stranger = spawn('sleep', ['600'], { stdio: 'ignore', detached: true });
    t.after(() => stranger.kill('SIGKILL'));
    await edit(trial, swarm, { info: { pid: stranger.pid }, child: { pid: stranger.pid } });

    const successor = trial.start(1);
    await trial.runs(id, 2);
    await trial.nothingLost(new Map([[successor, 1]]));
    assert.ok(isAlive(stranger.pid as number), 'a stranger was killed for its pid');
  });

  it('a host of the same name: its entry and jobs are left alone', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1);
    await swarm.ready(1);
    const id = await trial.add({ first: { ms: 600_000 } });
    await trial.runs(id);
    await registered(trial, swarm, 1);
    await killAll(swarm);
    const { bootId } = await edit(trial, swarm, { info: { bootId: 'of another boot' } });

    const successor = trial.start(1);
    await successor.ready(1);
    const other = await trial.add({ ms: 10 });
    await waitFor('it works', async () => (await trial.queue.getJobState(other)) === 'completed');
    assert.deepEqual(successor.all(PREDECESSOR), []);
    assert.equal(await trial.queue.getJobState(id), 'active');
    assert.equal(await successor.stop(), 0);
    // on the right host it is released
    await edit(trial, swarm, { info: { bootId } });
    const last = trial.start(1);
    await trial.nothingLost(new Map([[last, 1]]));
  });
});

/** Lets a stopped child go on: it finishes what it thinks is its own, and takes other jobs. */
async function goesOn(trial: Trial, pid: number): Promise<void> {
  const runs = () =>
    trial.masters.flatMap(({ lines }) => lines.filter((line) => line.pid === pid && line.stream)).length;
  const before = runs();
  process.kill(pid, 'SIGCONT');
  await waitFor(
    `the child ${pid} takes other jobs`,
    async () => {
      await trial.add({ ms: 50 });
      return runs() > before;
    },
    { everyMs: 50 },
  );
}

/** Waits until the registry shows so many children of a master with their Workers. */
async function registered(trial: Trial, swarm: Swarm, count: number): Promise<void> {
  await waitFor('the children are registered', async () => {
    const { hash } = await entry(trial, swarm);
    const children = Object.entries(hash).filter(([field]) => field.startsWith('child:'));
    return children.filter(([, text]) => JSON.parse(text).workers.length > 0).length === count;
  });
}

async function entry(
  trial: Trial,
  swarm: Swarm,
): Promise<{ identity: string; key: string; hash: Record<string, string> }> {
  const identity = String((await swarm.line('starting'))['identity']);
  const key = `swarm:{${trial.namespace}}:master:${identity}`;
  return { identity, key, hash: await trial.redis.client.hgetall(key) };
}

/** Changes facts in a master's entry, or in a copy of it under another identity. Returns what they were. */
async function edit(
  trial: Trial,
  swarm: Swarm,
  { info = {}, child = {} }: { info?: object; child?: object },
  copyTo?: string,
): Promise<{ bootId: string }> {
  const { key, hash } = await entry(trial, swarm);
  const before = JSON.parse(hash['info'] as string) as { bootId: string };
  const to = copyTo === undefined ? key : `swarm:{${trial.namespace}}:master:${copyTo}`;
  const fields: Record<string, string> = { ...hash, info: JSON.stringify({ ...before, ...info }) };
  for (const [field, text] of Object.entries(hash)) {
    if (field.startsWith('child:')) fields[field] = JSON.stringify({ ...JSON.parse(text), ...child });
  }
  await trial.redis.client.hset(to, fields);
  if (copyTo !== undefined)
    await trial.redis.client.zadd(`swarm:{${trial.namespace}}:masters`, Date.now(), copyTo);
  return before;
}

async function killAll(swarm: Swarm): Promise<void> {
  for (const pid of [swarm.pid, ...[...swarm.children.values()].map((child) => -child)])
    process.kill(pid, 'SIGKILL');
  await waitFor('nobody is left', () => swarm.processes.length === 0);
}
