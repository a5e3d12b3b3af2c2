/** What `swarm quiet`, `resume`, `stop`, `roll`, `recycle` and `scale` do to real masters, and what they say. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { after, before, describe, it } from 'node:test';
import type { MasterRecord } from '../../packages/swarm/dist/registry/schema.js';
import { completed } from '../support/jobs.js';
import { isAlive } from '../support/processes.js';
import { GatedJob } from '../support/programs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { StateHome } from '../support/state-home.js';
import { type LogLine, type Swarm, swarmCommand } from '../support/swarm.js';
import { Trial } from '../support/trial.js';
import { waitFor } from '../support/wait.js';

let redis: TestRedis;

before(async () => {
  redis = await startRedis();
});

after(() => redis.close());

async function masters(trial: Trial): Promise<MasterRecord[]> {
  const { code, stdout, stderr } = await trial.command('ps', '--json');
  assert.deepEqual([code, stderr], [0, '']);
  return JSON.parse(stdout) as MasterRecord[];
}

/** The command ends well, and this is all that it prints. */
async function does(trial: Trial, words: string[], prints: RegExp): Promise<void> {
  const { code, stdout, stderr } = await trial.command(...words);
  assert.match(stdout, prints, stderr);
  assert.equal(code, 0, stdout);
}

/** It could be asked for, but was not done. */
async function fails(trial: Trial, words: string[], prints: RegExp): Promise<void> {
  const { code, stdout, stderr } = await trial.command(...words);
  assert.match(stdout, prints, stderr);
  assert.equal(code, 1);
}

/** It cannot even be asked for. */
async function refuses(trial: Trial, words: string[], says: RegExp): Promise<void> {
  const { code, stdout, stderr } = await trial.command(...words);
  assert.match(stderr, says);
  assert.deepEqual([code, stdout], [64, '']);
}

/** The least number of children that took jobs at once, from a line of the log on. */
function leastUp(swarm: Swarm, from: number): number {
  const up = new Set<number>();
  let least = Number.POSITIVE_INFINITY;
  swarm.lines.forEach(({ message, pid, stream }: LogLine, at) => {
    if (stream !== undefined || pid === undefined) return;
    if (message === 'ready') up.add(pid);
    if (message === 'draining' || message === 'exited') up.delete(pid);
    if (at >= from) least = Math.min(least, up.size);
  });
  return least;
}

const host = hostname();

describe('swarm quiet and resume', { concurrency: 3 }, () => {
  it('of one child: its siblings have all the jobs', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2);
    const [quiet = 0, other = 0] = await swarm.ready(2);
    await does(
      trial,
      ['quiet', String(quiet)],
      new RegExp(`^${host} slot \\d pid ${quiet}: quiet done: slot \\d is quiet\n$`),
    );
    const ids = await trial.addMany(6, { ms: 20 });
    for (const id of ids) assert.equal((await trial.runs(id)).pid, other);
    const [master] = await masters(trial);
    assert.deepEqual(
      master?.children.map(({ pid, state }) => [pid, state]).sort(),
      [
        [quiet, 'quiet'],
        [other, 'up'],
      ].sort(),
    );
    await does(trial, ['resume', String(quiet)], /: resume done: slot \d is up\n$/);
    // a job in each hand
    const [first, second] = await trial.addMany(2, { ms: 1_000 });
    const runners = [await trial.runs(first as string), await trial.runs(second as string)];
    assert.deepEqual(runners.map(({ pid }) => pid).sort(), [quiet, other].sort());
    await trial.nothingLost(new Map([[swarm, 2]]));
  });

  it('of a master: running jobs end, new ones wait', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2);
    await swarm.ready(2);
    const early = await trial.add({ ms: 1_500 });
    await trial.runs(early);
    await does(trial, ['quiet', host], /: quiet done: 0\/2 up, 2 quiet\n$/);
    const late = await trial.add({});
    await completed(trial.queue, 1);
    // it may have been on its way to a child already, which puts it back
    await waitFor('it waits', async () => (await trial.queue.getJobState(late)) === 'waiting');
    assert.deepEqual(swarm.all(`runs ${late}`), []);
    await does(trial, ['resume', 'all'], /: resume done: 2\/2 up\n$/);
    await completed(trial.queue, 2);
    await trial.nothingLost(new Map([[swarm, 2]]));
  });
});

describe('swarm stop', { concurrency: 3 }, () => {
  it('of a child: it drains, its slot goes with it, and the last one stays', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2);
    await swarm.ready(2);
    const id = await trial.add({ ms: 1_500 });
    const { pid, slot } = await trial.runs(id);
    await does(
      trial,
      ['stop', String(pid)],
      new RegExp(`: stop done: the child of slot ${slot} is gone; 1/1 up\n$`),
    );
    assert.deepEqual((await trial.queue.getJob(id))?.returnvalue, { pid, slot: String(slot), starts: 1 });
    assert.equal(isAlive(pid), false);
    const [left] = await swarm.ready(1);
    await fails(trial, ['stop', String(left)], /: stop failed: slot \d is the last of its group/);
    await trial.nothingLost(new Map([[swarm, 1]]));
  });

  it('of a master: as TERM does it; asked twice, it stops once', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2, { app: 'main.cjs', env: { APP_QUEUE: trial.queue.name } });
    await swarm.ready(2);
    const job = await GatedJob.add(t, trial.queue);
    trial.ids.push(job.id);
    await job.runner();
    const asked = Promise.all([
      does(trial, ['stop', 'all'], new RegExp(`^${host} pid ${swarm.pid}: stop done: stopped\n$`)),
      does(trial, ['stop', host], /: stop done: stopped\n$/),
    ]);
    // it is there for both, however long a command takes to start
    await swarm.line('command', { type: 'stop' }, { nth: 2 });
    await job.open();
    await asked;
    assert.equal(await swarm.exited(), 0);
    assert.equal(await trial.queue.getJobState(job.id), 'completed');
    await trial.nothingLost(new Map());
    await refuses(trial, ['stop', 'all'], /SWARM_NO_TARGET: no master runs in this namespace/);
  });

  it('of a child in for(;;), and recycle of another: killed inside the budget, its jobs released', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(3, { args: ['--timeout', '500ms'] });
    await swarm.ready(3);
    const ids = [await trial.add({ first: { spin: true } }), await trial.add({ first: { spin: true } })];
    const [stopped, recycled] = [await trial.runs(ids[0] as string), await trial.runs(ids[1] as string)];
    const startedAtMs = performance.now();
    await Promise.all([
      does(
        trial,
        ['stop', String(stopped.pid)],
        /: stop done: the child of slot \d is gone \(it had to be killed\)/,
      ),
      does(trial, ['recycle', String(recycled.pid)], /: recycle done: slot \d replaced: pid \d+\n$/),
    ]);
    t.diagnostic(
      `both answered after ${Math.round(performance.now() - startedAtMs)} ms, of a budget of 3.2 s`,
    );
    assert.deepEqual([isAlive(stopped.pid), isAlive(recycled.pid)], [false, false]);
    assert.deepEqual(
      swarm
        .all('kill')
        .map(({ pid, reason }) => [pid, reason])
        .sort(),
      [
        [stopped.pid, 'stop-timeout'],
        [recycled.pid, 'stop-timeout'],
      ].sort(),
    );
    await completed(trial.queue, 2);
    for (const id of ids) assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
    await trial.nothingLost(new Map([[swarm, 2]]));
  });
});

describe('swarm roll, recycle and scale', { concurrency: 3 }, () => {
  it('roll: one child at a time, the new one first, and jobs go on', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2);
    const before = await swarm.ready(2);
    const load = setInterval(() => void trial.add({ ms: 50 }), 100);
    t.after(() => clearInterval(load));
    const from = swarm.lines.length;
    const { code, stdout, stderr } = await trial.command('roll');
    clearInterval(load);
    assert.equal(stdout, `${host} pid ${swarm.pid}: roll done: generation 1; 2/2 up\n`);
    assert.equal(code, 0);
    assert.match(stderr, /: slot 0 replaced, 1 to go\n.*: slot 1 replaced, 0 to go\n$/);
    assert.equal(leastUp(swarm, from), 2, 'capacity never under N');
    const steps = swarm.lines
      .slice(from)
      .filter(
        ({ message, stream }) => !stream && ['spawned', 'ready', 'draining', 'exited'].includes(message),
      );
    assert.deepEqual(
      steps.map(({ message, slot, generation }) => `${message} ${slot} ${generation}`),
      [0, 1].flatMap((slot) => [
        `spawned ${slot} 1`,
        `ready ${slot} 1`,
        `draining ${slot} 0`,
        `exited ${slot} 0`,
      ]),
    );
    assert.deepEqual(
      swarm.all('exited').map(({ cause }) => cause),
      ['rolled', 'rolled'],
    );
    assert.ok(![...swarm.children.values()].some((pid) => before.includes(pid)));
    assert.ok((await trial.queue.getCompletedCount()) > 5, 'jobs went on');
    await trial.nothingLost(new Map([[swarm, 2]]));
    for (const id of trial.ids) {
      assert.equal(swarm.all(`runs ${id}`).length, 1, 'each has run once');
      // one that was on its way to a child that goes is put back, and counts as started twice
      const { attempts, starts, stalled } = await trial.counters(id);
      assert.deepEqual([attempts, stalled], [1, 0]);
      assert.ok(starts <= 2, `${starts} starts`);
    }
  });

  it('recycle: one child, the new one first', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2);
    await swarm.ready(2);
    const old = swarm.children.get(1);
    const other = swarm.children.get(0);
    const from = swarm.lines.length;
    await does(
      trial,
      ['recycle', '1'],
      new RegExp(`^${host} slot 1 pid ${old}: recycle done: slot 1 replaced: pid \\d+\n$`),
    );
    assert.equal(leastUp(swarm, from), 2);
    assert.equal(swarm.children.get(0), other);
    assert.deepEqual(
      swarm.all('exited').map(({ pid, cause }) => [pid, cause]),
      [[old, 'recycled']],
    );
    await trial.nothingLost(new Map([[swarm, 2]]));
  });

  it('scale: up when all are ready, down when the rest has drained', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1);
    await swarm.ready(1);
    await does(trial, ['scale', host, '3'], /: scale done: 3\/3 up\n$/);
    const counts = [...swarm.children.values()].map((pid) => {
      return /\0SWARM_COUNT=(\d+)\0/.exec(readFileSync(`/proc/${pid}/environ`, 'utf8'))?.[1];
    });
    assert.deepEqual(counts.sort(), ['1', '3', '3'], 'as it was when each was started');
    await swarm.ready(3);
    const ids = await trial.addMany(3, { ms: 1_500 });
    for (const id of ids) await trial.runs(id);
    await does(trial, ['scale', String(swarm.pid), '1'], /: scale done: 1\/1 up\n$/);
    assert.equal(await trial.queue.getCompletedCount(), 3, 'those that left ended their jobs first');
    const [master] = await masters(trial);
    assert.deepEqual([master?.count, master?.children.map(({ slot }) => slot)], [1, [0]]);
    await fails(
      trial,
      ['scale', host, 'mail=2'],
      /: scale failed: there is no group "mail", only default\n$/,
    );
    await refuses(trial, ['scale', host, '0'], /SWARM_BAD_COUNT: swarm scale takes a number from 1 to 512/);
    await trial.nothingLost(new Map([[swarm, 1]]));
  });

  it('of two masters: rolled one after the other; stale ones are refused', async (t) => {
    const trial = new Trial(t, redis);
    const both = [trial.start(1), trial.start(1)];
    for (const swarm of both) await swarm.ready(1);
    await refuses(
      trial,
      ['quiet', host],
      /SWARM_NO_TARGET: ".*" names several: .*; give one of these identities/,
    );
    await refuses(
      trial,
      ['recycle', '0'],
      /SWARM_NO_TARGET: nobody here is called "0".*slots are numbered in each/,
    );
    const { code, stdout } = await trial.command('roll', '--json');
    assert.equal(code, 0, stdout);
    const results = JSON.parse(stdout) as { master: string; child: null; state: string; message: string }[];
    assert.deepEqual(
      results.map(({ child, state, message }) => [child, state, message]),
      Array(2).fill([null, 'done', 'generation 1; 1/1 up']),
    );
    const order = results.map(({ master }) => both.find(({ pid }) => master.includes(`:${pid}:`)) as Swarm);
    const [first, second] = order as [Swarm, Swarm];
    assert.ok(first !== second);
    const ended = Date.parse((await first.line('rolled')).time);
    const began = Date.parse((await second.line('command', { type: 'roll' })).time);
    assert.ok(ended <= began, `the second began ${ended - began} ms before the first was done`);

    const gone = results[1]?.master as string;
    second.kill('SIGSTOP');
    // as old as it will be in a while
    const key = `swarm:{${trial.namespace}}:master:${gone}`;
    await waitFor(
      'its last beat is written',
      async () => (await redis.client.hincrby(key, 'beatAtMs', -15_500)) > 0,
    );
    await refuses(trial, ['stop', gone], /SWARM_NO_TARGET: .* is stale: .*has not beaten for 15 s or more/);
    await does(trial, ['quiet', host], /: quiet done: 0\/1 up, 1 quiet\n$/);
    second.kill('SIGCONT');
    await second.line('command', { type: 'roll' });
    await trial.command('resume', 'all');
    await trial.nothingLost(new Map(both.map((swarm) => [swarm, 1])));
  });
});

describe('a command', { concurrency: 4 }, () => {
  it('whose master is killed meanwhile ends with a clear answer', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2);
    await swarm.ready(2);
    const id = await trial.add({ first: { ms: 600_000 } });
    const { pid } = await trial.runs(id);
    const pending = trial.command('stop', String(pid));
    await swarm.line('draining', { pid });
    const killedAtMs = performance.now();
    for (const target of [swarm.pid, ...[...swarm.children.values()].map((child) => -child)]) {
      process.kill(target, 'SIGKILL');
    }
    const { code, stdout } = await pending;
    t.diagnostic(`answered ${Math.round(performance.now() - killedAtMs)} ms after the kill`);
    assert.equal(code, 1);
    assert.match(
      stdout,
      /: stop failed: the master is gone: no beat for 15 s; swarm ps shows who is there\n$/,
    );
    const successor = trial.start(1);
    await successor.ready(1);
    await trial.nothingLost(new Map([[successor, 1]]));
  });

  it('outlives a restart of the registry’s Redis', async (t) => {
    const registry = await startRedis();
    t.after(() => registry.close());
    const trial = new Trial(t, redis);
    const swarm = trial.start(2, { args: ['--redis', registry.url] });
    await swarm.ready(2);
    const id = await trial.add({ ms: 4_000 });
    const { pid } = await trial.runs(id);
    const where = ['--redis', registry.url, '--namespace', trial.namespace];
    const pending = swarmCommand(['stop', String(pid), ...where]);
    await swarm.line('draining', { pid });
    await registry.stop();
    await swarm.line(
      'registry is not written: Redis does not take it; children go on, and it is tried every second',
    );
    await registry.start();
    const { code, stdout, stderr } = await pending;
    assert.match(stdout, /: stop done: the child of slot \d is gone; 1\/1 up\n$/, stderr);
    assert.equal(code, 0);
    assert.equal(await trial.queue.getJobState(id), 'completed');
    assert.deepEqual(swarm.all('kill'), []);
  });

  it('is not kept from its master by junk in the stream', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1);
    const [pid] = await swarm.ready(1);
    const [master] = await masters(trial);
    const stream = `swarm:{${trial.namespace}}:commands:${master?.identity}`;
    const reply = `swarm:{${trial.namespace}}:reply:junk`;
    for (const fields of [
      ['x', 'y'],
      ['command', '{"type":"stop","child":null}', 'reply', trial.queue.toKey('wait')],
      ['command', '{"type":"stop","child":{}}', 'reply', reply],
      ['command', '\u0000\uffff', 'reply', reply],
      ['command', JSON.stringify({ type: 'recycle', child: 'x'.repeat(1_000_000) }), 'reply', reply],
    ]) {
      await redis.client.xadd(stream, '*', ...fields);
    }
    await does(trial, ['quiet', String(pid)], /: quiet done/);
    await does(trial, ['resume', String(pid)], /: resume done/);
    await waitFor('three answers', async () => (await redis.client.llen(reply)) === 3);
    for (const answer of await redis.client.lrange(reply, 0, -1)) assert.match(answer, /"state":"failed"/);
    assert.equal(swarm.all('malformed command dropped').length, 2);
    assert.equal(swarm.all('malformed command refused').length, 2);
    await redis.client.del(reply);
    await trial.nothingLost(new Map([[swarm, 1]]));
  });

  it('is no reason to keep an unused embedded Redis', async (t) => {
    const trial = new Trial(t, redis);
    const home = await StateHome.make(t);
    const swarm = home.start('plain.mjs', {
      args: ['--count', '1', '--redis', 'embedded'],
      env: { QUEUE_REDIS_PORT: String(redis.port), APP_QUEUES: trial.queue.name },
    });
    await swarm.ready(1);
    const server = home.redisPid as number;
    assert.ok(isAlive(server));
    const { code, stdout, stderr } = await swarmCommand(['stop', 'all'], home);
    assert.match(stdout, /: stop done: stopped\n$/, stderr);
    assert.equal(code, 0);
    assert.equal(await swarm.exited(), 0);
    await waitFor('the server is gone', () => !isAlive(server));
  });

  it('prints one JSON document with --json, and nothing else', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1);
    const [pid] = await swarm.ready(1);
    const [master] = await masters(trial);
    const child = master?.children.find((other) => other.pid === pid)?.identity;
    const { code, stdout, stderr } = await trial.command('recycle', '0', '--json');
    assert.deepEqual([code, stderr], [0, '']);
    const [result, ...rest] = JSON.parse(stdout) as Record<string, unknown>[];
    assert.deepEqual(rest, []);
    assert.match(String(result?.['message']), /^slot 0 replaced: pid \d+$/);
    assert.deepEqual(result, { ...result, master: master?.identity, child, state: 'done' });
    const failed = await trial.command('scale', host, 'x=2', '--json');
    assert.deepEqual([failed.code, failed.stderr], [1, '']);
    assert.equal((JSON.parse(failed.stdout) as { state: string }[])[0]?.state, 'failed');
    await trial.nothingLost(new Map([[swarm, 1]]));
  });
});
