/** Fault 42: bad input at the doors of a running swarm: messages of the app, registry entries, jobs, names, config. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { nothingLost } from '../support/accounts.js';
import { completed, openQueue } from '../support/jobs.js';
import { isAlive, rssBytes } from '../support/processes.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { swarmCommand } from '../support/swarm.js';
import { Trial } from '../support/trial.js';
import { waitFor } from '../support/wait.js';

describe('bad input', { concurrency: 3 }, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  it('over IPC: foreign messages are ignored, malformed ones named and dropped', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2);
    const pids = await swarm.ready(2);
    const foreign = ['string', 'number', 'null', 'list', 'object', 'internal', 'huge'];
    const malformed = [
      ...['swarmNull', 'swarmString', 'noType', 'unknownType', 'inheritedType', 'protoType'],
      ...['beatWithout', 'beatWrong', 'beatNegative', 'releasedWrong', 'drainedWrong', 'hugeOurs'],
    ];
    const { pid } = await trial.runs(await trial.add({ ipc: [...foreign, ...malformed, 'releasedUnasked'] }));
    await completed(trial.queue, 1);

    const dropped = () => swarm.all('malformed message dropped', { pid });
    await waitFor('the malformed ones are named', () => dropped().length >= malformed.length);
    assert.equal(dropped().length, malformed.length);
    assert.ok(dropped().every((line) => String(line['why']).length < 200));
    assert.ok(
      swarm.lines.every((line) => JSON.stringify(line).length < 2_000),
      'no message fills the log',
    );
    assert.ok(pids.every(isAlive));

    const cyclic = await trial.add({ ipc: ['cyclic'] });
    await waitFor('its sender fails', async () => (await trial.queue.getJobState(cyclic)) === 'failed');
    // what a job holds is still known: it is released when its child dies
    const id = await trial.add({ first: { ipc: malformed, ms: 600_000 } });
    process.kill((await trial.runs(id)).pid, 'SIGKILL');
    await trial.nothingLost(new Map([[swarm, 2]]));
    t.diagnostic(`the master has ${Math.round(rssBytes(swarm.pid) / 1e6)} MB after two messages of 20 MB`);
  });

  it('over IPC, at which node itself throws: no child takes its master down', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2);
    const pids = await swarm.ready(2);
    const first = await trial.runs(await trial.add({ ipc: ['internalOutOfTurn', 'garbage'] }));
    await swarm.line('malformed message dropped', { pid: first.pid }, { nth: 2 });
    // from here on node can read nothing of this child any more
    const id = await trial.add({ first: { ipc: ['halfLine'], ms: 600_000 } });
    const { pid } = await trial.runs(id);
    await swarm.line('malformed message dropped', { pid }, { nth: pid === first.pid ? 3 : 1 });
    assert.ok(isAlive(swarm.pid) && pids.every(isAlive));
    process.kill(pid, 'SIGKILL');
    await trial.nothingLost(new Map([[swarm, 2]]));
    assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
  });

  it('in the registry: readers and a starting master survive it', async (t) => {
    const trial = new Trial(t, redis);
    const identities = await fillWithRubbish(redis, trial.namespace);
    const swarm = trial.start(1);
    await swarm.ready(1);
    const own = await swarm.line('starting');

    const where = ['--redis', redis.url, '--namespace', trial.namespace];
    for (const command of ['ps', 'jobs']) {
      const json = await swarmCommand([command, '--json', ...where]);
      assert.equal(json.code, 0, json.stderr);
      assert.ok(Array.isArray(JSON.parse(json.stdout)), 'one JSON document');
      assert.match(json.stderr, /malformed|WRONGTYPE/);
      const text = await swarmCommand([command, ...where]);
      assert.equal(text.code, 0, text.stderr);
      assert.doesNotMatch(text.stdout + text.stderr, /\u001b|\u0007/, 'the terminal is driven by an entry');
    }
    const ps = await swarmCommand(['ps', '--json', ...where]);
    const records = JSON.parse(ps.stdout) as { identity: string; children: unknown[] }[];
    assert.equal(records.find(({ identity }) => identity === own['identity'])?.children.length, 1);

    await trial.addMany(3, { ms: 10 });
    await completed(trial.queue, 3);
    await redis.client.zrem(`swarm:{${trial.namespace}}:masters`, ...identities);
    await redis.client.del(...identities.map((identity) => `swarm:{${trial.namespace}}:master:${identity}`));
    await trial.nothingLost(new Map([[swarm, 1]]));
  });

  it('in the registry, under the own entry: said once, and rebuilt when it can be', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1);
    const pids = await swarm.ready(1);
    const masters = `swarm:{${trial.namespace}}:masters`;
    await waitFor('the registry is written', () => redis.client.exists(masters));
    await redis.client.set(masters, 'not a zset');
    const said = await swarm.line(
      'registry is not written: Redis does not take it; children go on, and it is tried every second',
    );
    assert.match(String(said['error']), /WRONGTYPE/);
    await trial.addMany(3, { ms: 10 });
    await completed(trial.queue, 3);
    await redis.client.del(masters);
    await swarm.line('registry is written again');
    await trial.nothingLost(new Map([[swarm, 1]]));
    assert.deepEqual([...swarm.children.values()], pids);
  });

  it('in a job: one of 50 MB, whose child is killed, is released and ends', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2);
    await swarm.ready(2);
    const id = await trial.add({ first: { ms: 600_000 }, filler: 'x'.repeat(50_000_000) });
    const { pid } = await trial.runs(id);
    process.kill(pid, 'SIGKILL');
    const again = await trial.runs(id, 2);
    assert.notEqual(again.pid, pid);
    await trial.nothingLost(new Map([[swarm, 2]]));
    assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
    t.diagnostic(`the master has ${Math.round(rssBytes(swarm.pid) / 1e6)} MB`);
  });

  it('in names of queues and ids of jobs: whatever BullMQ takes is released', async (t) => {
    const names = [
      'größe 数字 🐝',
      'line\nbreak\ttab',
      '*?[a-z]\\*',
      '{tag}{}',
      '../etc',
      '%s "x" \'$(id)\'',
      '__proto__',
    ];
    const ids = ['a:b:c', 'zeile\nzwei', '*', '[0-9]?\\', '{x}', 'ид 🐝', '__proto__', ' '];
    const trial = new Trial(t, redis);
    const env = { QUEUE_NAMES: JSON.stringify(names), APP_CONCURRENCY: String(ids.length) };
    const queues = names.map((name) => openQueue(redis, name));
    t.after(() => Promise.all(queues.map((queue) => queue.close())));
    const swarm = trial.start(2, { env });
    const pids = await swarm.ready(2);
    for (const queue of queues) {
      await queue.addBulk(
        ids.map((jobId) => ({ name: 'job', data: { first: { ms: 600_000 } }, opts: { jobId } })),
      );
    }
    for (const queue of queues) {
      await waitFor(`all of ${queue.name} run`, async () => (await queue.getActiveCount()) === ids.length);
    }
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    await nothingLost({
      redis,
      namespace: trial.namespace,
      masters: [{ swarm, children: 2 }],
      jobs: queues.map((queue) => ({ queue, ids })),
    });
    for (const queue of queues) {
      for (const id of ids)
        assert.deepEqual(await redis.client.hmget(queue.toKey(id), 'atm', 'ats', 'stc'), ['1', '2', null]);
    }
  });

  it('in the config: one line that names it, exit 64, and nothing is started', async (t) => {
    const directory = await mkdtemp(join(tmpdir(), 'swarm-config-'));
    t.after(() => rm(directory, { recursive: true, force: true }));
    const trial = new Trial(t, redis);
    const bad: Record<string, string> = {
      'broken.json': '{ "count": 2,',
      'list.json': '[]',
      'type.json': '{ "concurrency": "four" }',
      'unit.json': '{ "timeout": 25 }',
      'proto.json': '{ "__proto__": { "count": 2 }, "constructor": 1 }',
      'throws.mjs': "throw new Error('no config today')",
    };
    for (const [name, text] of Object.entries(bad)) {
      const file = join(directory, name);
      await writeFile(file, text);
      const swarm = trial.start(1, { args: ['--config', file] });
      assert.equal(await swarm.exited(), 64, `${name}: ${swarm.tail()}`);
      assert.match(swarm.stderr, /^swarm: SWARM_[A-Z_]+: .+\n$/, name);
      assert.deepEqual(swarm.lines, []);
    }
  });
});

/** Entries as another program, another version or an attacker could write them. Returns their identities. */
async function fillWithRubbish(redis: TestRedis, namespace: string): Promise<string[]> {
  const key = (identity: string) => `swarm:{${namespace}}:master:${identity}`;
  const info = (fields: object) => JSON.stringify({ host: 'elsewhere', pid: 1, ...fields });
  const hashes: Record<string, Record<string, string>> = {
    'no-fields-of-ours': { a: 'b' },
    'info-is-no-json': { info: '{', state: 'up', beatAtMs: '1' },
    'info-is-null': { info: 'null', state: 'up', beatAtMs: '1' },
    'info-is-a-list': { info: '[]', state: 'up', beatAtMs: '1' },
    'bad-state': { info: info({}), state: 'flying', beatAtMs: '1' },
    'bad-beat': { info: info({}), state: 'up', beatAtMs: 'soon' },
    'bad-numbers': {
      info: info({ pid: 1e300, startedAtMs: 'x' }),
      state: 'up',
      beatAtMs: '1e400',
      count: '-3',
    },
    'bad-children': {
      info: info({ labels: { a: 1 }, config: 'x', tag: 7, version: {} }),
      state: 'up',
      beatAtMs: String(Date.now()),
      'child:1': 'null',
      'child:2': '{"identity":1,"slot":"x"}',
      'child:3':
        '{"identity":"a","slot":0,"state":"up","jobs":{"a":1},"workers":"none","pid":{},"lastDeath":[]}',
      'child:4':
        '{"identity":"b","slot":1e9,"state":"up","jobs":[null,1,{"queue":1}],"workers":[{"tokenPrefix":""}]}',
      'child:': '{}',
      owed: '[null,{"owner":1},{"owner":"x","holdings":[{"queue":"q"}]}]',
    },
    'escape\u001b[2J\u0007\nline': {
      info: info({ tag: '\u001b]0;owned\u0007' }),
      state: 'up',
      beatAtMs: String(Date.now()),
    },
    __proto__x: { info: info({}), state: 'up', beatAtMs: String(Date.now()), __proto__x: '1' },
    [`long${'x'.repeat(10_000)}`]: { info: info({}), state: 'up', beatAtMs: String(Date.now()) },
  };
  for (const [identity, hash] of Object.entries(hashes)) await redis.client.hset(key(identity), hash);
  await redis.client.set(key('a-string'), 'x');
  await redis.client.rpush(key('a-list'), 'x');
  await redis.client.sadd(`swarm:{${namespace}}:deaths`, 'x');
  const identities = [...Object.keys(hashes), 'a-string', 'a-list', 'no-entry'];
  for (const [at, identity] of identities.entries()) {
    await redis.client.zadd(`swarm:{${namespace}}:masters`, at % 2 ? Date.now() + 10_000 : '+inf', identity);
  }
  return identities;
}
