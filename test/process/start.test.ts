/** The shortest way to start: no app named, no Redis named. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { Queue } from 'bullmq';
import { isAlive } from '../support/processes.js';
import { GatedJob, project, startSwarm } from '../support/programs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { StateHome } from '../support/state-home.js';
import { type Swarm, swarmCommand } from '../support/swarm.js';
import { waitFor } from '../support/wait.js';

const ONE = ['--count', '1'];

let redis: TestRedis;

before(async () => {
  redis = await startRedis();
});

after(() => redis.close());

describe('swarm without an app', () => {
  it('runs worker.mjs of its directory; SWARM_COUNT says in how many children', async (t) => {
    const directory = await project(t, {
      'worker.mjs': { app: 'esm.mjs' },
      'package.json': '{ "name": "shop" }',
    });
    const env = { SWARM_COUNT: '2', COUNT: '3', NUM_WORKERS: '4' };
    const swarm = startSwarm(t, null, { redis, cwd: directory, env });
    const { app, count } = await swarm.line('starting');
    assert.deepEqual([app, count], [join(directory, 'worker.mjs'), 2]);
    await swarm.ready(2);
    assert.equal(swarm.all('spawned').length, 2);
    assert.equal(await swarm.stop(), 0);
  });

  it('takes COUNT, and --count before that', async (t) => {
    const cwd = await project(t, { 'worker.mjs': { app: 'esm.mjs' } });
    const env = { COUNT: '3', NUM_WORKERS: '4', REDIS_URL: redis.url };
    const counts = [[], ['--count', '2']].map(async (args) => {
      const { stdout } = await swarmCommand(['config', '--json', ...args], { cwd, env });
      return (JSON.parse(stdout) as { count: unknown }).count;
    });
    assert.deepEqual(await Promise.all(counts), [
      { value: 3, origin: 'env COUNT' },
      { value: 2, origin: 'flag' },
    ]);
  });
});

/** As a producer would: by the URL that `swarm redis` prints. */
async function producer(t: TestContext, { env }: StateHome, name: string): Promise<Queue> {
  const { stdout } = await swarmCommand(['redis'], { env });
  const { hostname, port, password } = new URL(stdout.trim());
  assert.match(password, /^[0-9a-f]{64}$/);
  const queue = new Queue(name, { connection: { host: hostname, port: Number(port), password } });
  queue.on('error', () => {});
  t.after(() => queue.close());
  return queue;
}

/** What its children printed as theirs. */
function redisUrlsOf(swarm: Swarm): string[] {
  return swarm.lines.flatMap(
    ({ stream, message }) => (stream && /^REDIS_URL is (.*)/.exec(message)?.[1]) ?? [],
  );
}

const STARTED_AGAIN = 'the embedded Redis was gone, and is started again';

describe('swarm without a Redis', () => {
  it('runs one of its own, says so, gives it to the children, and keeps its data', async (t) => {
    const home = await StateHome.make(t);
    const directory = await project(t, { 'worker.mjs': { app: 'redis-url.mjs' } });
    const swarm = home.start(null, { cwd: directory, args: ONE, env: { APP_QUEUE: 'mail' } });
    await swarm.ready(1);
    const told = swarm.lines.filter(({ message }) => message.startsWith('Redis'));
    assert.equal(told.length, 1, JSON.stringify(told));
    assert.match(String(told[0]?.message), /embedded.*none was named/);
    assert.match(String(told[0]?.['url']), /^redis:\/\/:?\*\*\*@127\.0\.0\.1:\d+$/);
    assert.match(String(told[0]?.['server']), /^(redis|valkey)-server \d/);

    const mail = await producer(t, home, 'mail');
    const later = await producer(t, home, 'later');
    const { port, password } = mail.opts.connection as { port: number; password: string };
    assert.deepEqual(redisUrlsOf(swarm), [`redis://:${password}@127.0.0.1:${port}`]);
    assert.ok(
      !swarm.lines.some((line) => !line.stream && JSON.stringify(line).includes(password)),
      'no password in the log',
    );
    const job = await GatedJob.add(t, mail);
    await job.open();
    await job.result();
    await later.add('some', {});
    await Promise.all([mail.close(), later.close()]);
    const pid = home.redisPid as number;
    assert.equal(await swarm.stop(), 0);
    await waitFor('the embedded Redis is gone', () => !isAlive(pid));

    const next = home.start(null, { cwd: directory, args: ONE, env: { APP_QUEUE: 'mail' } });
    await next.ready(1);
    assert.deepEqual(redisUrlsOf(next), redisUrlsOf(swarm), 'the same address');
    const found = await producer(t, home, 'later');
    assert.equal(await found.getWaitingCount(), 1);
    await found.close();
    assert.equal(await next.stop(), 0);
  });

  it('shares it with another that starts at the same time; the last one stops it', async (t) => {
    const home = await StateHome.make(t);
    const directory = await project(t, { 'worker.mjs': { app: 'redis-url.mjs' } });
    const [one, other] = ['one', 'other'].map((name) => {
      return home.start(null, { cwd: directory, args: ONE, env: { APP_QUEUE: name } });
    });
    assert.ok(one && other);
    await Promise.all([one.ready(1), other.ready(1)]);
    assert.deepEqual(redisUrlsOf(one), redisUrlsOf(other));
    const pid = home.redisPid as number;
    assert.equal(await one.stop(), 0);
    const queue = await producer(t, home, 'other');
    const job = await GatedJob.add(t, queue);
    await job.open();
    await job.result();
    await queue.close();
    assert.ok(isAlive(pid));
    assert.equal(await other.stop(), 0);
    await waitFor('the embedded Redis is gone', () => !isAlive(pid));
  });

  it('starts it again where it was when it is killed, and jobs go on', async (t) => {
    const home = await StateHome.make(t);
    const directory = await project(t, { 'worker.mjs': { app: 'redis-url.mjs' } });
    const swarms = [1, 2].map(() => {
      return home.start(null, { cwd: directory, args: ONE, env: { APP_QUEUE: 'mail' } });
    });
    await Promise.all(swarms.map((swarm) => swarm.ready(1)));
    const queue = await producer(t, home, 'mail');
    queue.on('error', () => {});
    const pids = new Set<unknown>();
    for (let kill = 0; kill < 2; kill += 1) {
      const pid = home.redisPid as number;
      pids.add(pid);
      const job = await GatedJob.add(t, queue);
      process.kill(pid, 'SIGKILL');
      const back = await waitFor('one of them has started it again', () => {
        const said = swarms.flatMap((swarm) => swarm.all(STARTED_AGAIN));
        return said.find((line) => !pids.has(line['redis_pid']));
      });
      assert.equal(home.redisPid, back['redis_pid']);
      await job.open();
      await job.result();
    }
    assert.equal(swarms.flatMap((swarm) => swarm.all(STARTED_AGAIN)).length, 2, 'by one of them, each time');
    assert.ok(swarms.every((swarm) => swarm.all('exited').length === 0));
    await queue.close();
    for (const swarm of swarms) assert.equal(await swarm.stop(), 0);
  });

  it('is not stopped under a master, but by force, and then stays stopped', async (t) => {
    const home = await StateHome.make(t);
    const directory = await project(t, { 'worker.mjs': { app: 'redis-url.mjs' } });
    const options = { cwd: directory, args: ONE, env: { APP_QUEUE: 'mail' } };
    const swarm = home.start(null, options);
    await swarm.ready(1);
    const pid = home.redisPid as number;
    const refused = await swarmCommand(['redis', 'stop'], home);
    assert.equal(refused.code, 69);
    assert.match(
      refused.stderr,
      new RegExp(
        `SWARM_EMBEDDED_IN_USE: .*pid ${pid}.* is used by the master with pid ${swarm.pid} and .*--force`,
      ),
    );
    assert.ok(isAlive(pid));
    const forced = await swarmCommand(['redis', 'stop', '--force'], home);
    assert.equal(forced.code, 0, forced.stderr);
    await swarm.line('the embedded Redis was stopped by hand: it comes back when the next swarm is started');
    assert.equal(home.redisPid, null);
    const next = home.start(null, options);
    await next.ready(1);
    await waitFor('both are there', async () => {
      const { code, stdout } = await swarmCommand(['ps', '--json'], home);
      const masters = code === 0 ? (JSON.parse(stdout) as { pid: number; stale: boolean }[]) : [];
      return [swarm, next].every(({ pid }) => masters.some((master) => master.pid === pid && !master.stale));
    });
    assert.deepEqual(swarm.all(STARTED_AGAIN), []);
    for (const each of [swarm, next]) assert.equal(await each.stop(), 0);
  });

  it('leaves a REDIS_URL that is set to the program, when --redis embedded is meant', async (t) => {
    const home = await StateHome.make(t);
    const directory = await project(t, { 'worker.mjs': { app: 'redis-url.mjs' } });
    const swarm = home.start(null, {
      cwd: directory,
      args: [...ONE, '--redis', 'embedded'],
      env: { APP_QUEUE: 'own', REDIS_URL: redis.url },
    });
    await swarm.ready(1);
    assert.deepEqual(redisUrlsOf(swarm), [redis.url]);
    const { children } = JSON.parse((await swarmCommand(['ps', '--json'], home)).stdout)[0] as {
      children: unknown[];
    };
    assert.equal(children.length, 1);
    assert.equal(await swarm.stop(), 0);
  });
});
