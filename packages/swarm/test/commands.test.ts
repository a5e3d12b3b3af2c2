/** Requests through a real Redis: what arrives, what is answered, and what a sender is told when nothing is. */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import fc from 'fast-check';
import { SwarmError } from '../dist/errors.js';
import type { Logger } from '../dist/log.js';
import { connect, type RedisClient } from '../dist/redis/connect.js';
import { whenReady } from '../dist/redis/ready.js';
import { parseRedisUrl } from '../dist/redis/url.js';
import { CommandListener, type Reply } from '../dist/registry/command-listener.js';
import { type Answer, type Command, parseRequest, sendCommand } from '../dist/registry/commands.js';
import { Registry } from '../dist/registry/index.js';
import { registryKeys } from '../dist/registry/keys.js';
import { RegistryWriter } from '../dist/registry/writer.js';
import { startRedis, type TestRedis, until } from './redis-server.js';

const NAMESPACE = 'test';
const keys = registryKeys(NAMESPACE);

describe('parseRequest', () => {
  const reply = keys.reply('1');
  const parse = (command: string, more: string[] = ['reply', reply]) =>
    parseRequest(['command', command, ...more], NAMESPACE);

  it('takes every command as it was written', () => {
    const commands: Command[] = [
      { type: 'quiet', child: null },
      { type: 'resume', child: 'web1:1:x' },
      { type: 'stop', child: null },
      { type: 'roll' },
      { type: 'recycle', child: 'web1:1:x' },
      { type: 'scale', group: null, count: 512 },
      { type: 'scale', group: 'mail', count: 1 },
    ];
    for (const command of commands) {
      assert.deepEqual(parse(JSON.stringify({ ...command, more: 1 })), { command, reply });
    }
  });

  it('answers what it does not know, and only under a key of its namespace', () => {
    const unknown = { reply, error: 'this master does not know such a command' };
    const junk = [
      ...['', 'roll', '{', 'null', '[]', '1', '{}', '{"type":"rm"}', '{"type":"toString"}'],
      ...['{"type":"quiet"}', '{"type":"stop","child":7}', '{"type":"recycle","child":null}'],
      ...['{"type":"scale","group":null,"count":0}', '{"type":"scale","group":null,"count":513}'],
      ...['{"type":"scale","group":null,"count":"4"}', '{"type":"scale","count":4}'],
    ];
    for (const text of junk) assert.deepEqual(parse(text), unknown, text);
    assert.equal(parse('{"type":"roll"}', []), null);
    assert.equal(parse('{"type":"roll"}', ['reply', 'bull:mail:wait']), null);
    assert.equal(parse('{"type":"roll"}', ['reply', registryKeys('other').reply('1')]), null);
    assert.equal(parse('{"type":"roll"}', ['reply']), null);
  });

  it('never throws, and never makes a command of junk', () => {
    const word = fc.oneof(fc.string(), fc.json(), fc.constantFrom('command', 'reply', '__proto__', reply));
    fc.assert(
      fc.property(fc.array(word, { maxLength: 7 }), (fields) => {
        const request = parseRequest(fields, NAMESPACE);
        if (request === null) return;
        assert.ok(request.reply.startsWith(keys.reply('')));
        assert.ok('error' in request, JSON.stringify(fields));
      }),
      { numRuns: 500 },
    );
  });
});

describe('a command through Redis', { concurrency: true }, () => {
  let server: TestRedis;
  let client: RedisClient;
  before(async () => {
    server = await startRedis();
    client = await open(server.url);
  });
  after(async () => {
    client.disconnect();
    await server.stop();
  });

  async function open(url: string, role: 'registry' | 'blocking' = 'registry'): Promise<RedisClient> {
    const opened = connect(parseRedisUrl(url, '--redis'), { name: 'swarm-test', role });
    await whenReady(opened, url);
    return opened;
  }

  interface FakeMaster {
    identity: string;
    commands: Command[];
    warnings: string[];
    close(): Promise<void>;
  }

  let masters = 0;

  /** An entry in the registry, and a listener that does what the test says. */
  async function startMaster(
    t: TestContext,
    onCommand: (reply: Reply, command: Command) => void,
    { url = server.url, namespace = NAMESPACE }: { url?: string; namespace?: string } = {},
  ): Promise<FakeMaster> {
    const identity = `web1:${5000 + masters++}:x`;
    const [blocking, writing] = await Promise.all([open(url, 'blocking'), open(url)]);
    await register(writing, namespace, identity);
    const commands: Command[] = [];
    const warnings: string[] = [];
    const log = { warn: (message: string) => warnings.push(message) } as unknown as Logger;
    const listener = new CommandListener({
      blocking,
      writing,
      namespace,
      identity,
      log,
      onCommand: (command, reply) => {
        commands.push(command);
        onCommand(reply, command);
      },
    });
    listener.start();
    const close = async (): Promise<void> => {
      await listener.close();
      writing.disconnect();
    };
    t.after(close);
    return { identity, commands, warnings, close };
  }

  async function register(client: RedisClient, namespace: string, identity: string): Promise<void> {
    const [host = '', pid = '0'] = identity.split(':');
    const info = {
      identity,
      host,
      bootId: null,
      pidNamespace: null,
      pid: Number(pid),
      pidStartTicks: null,
      redisId: null,
    };
    const more = { startedAtMs: 1, version: '', node: '', tag: '', labels: [], app: '', config: {} };
    const report = {
      state: 'up',
      generation: 0,
      count: 0,
      children: [],
      owed: [],
      jobMemory: [],
      jobDurations: [],
    } as const;
    await new RegistryWriter(client, namespace).beat({ info: { ...info, ...more }, ...report }, null);
  }

  function send(master: string, more: { deadlineMs?: number; onAnswer?: (answer: Answer) => void } = {}) {
    return sendCommand(
      client,
      { type: 'roll' },
      { namespace: NAMESPACE, master, deadlineMs: 30_000, ...more },
    );
  }

  it('is taken once, and every answer comes in order', async (t) => {
    const master = await startMaster(t, (reply) => {
      reply({ state: 'accepted', message: '' });
      for (let at = 0; at < 300; at++) reply({ state: 'news', message: String(at) });
      reply({ state: 'done', message: 'all of it' });
    });
    const answers: Answer[] = [];
    const last = await send(master.identity, { onAnswer: (answer) => answers.push(answer) });
    assert.deepEqual(last, { state: 'done', message: 'all of it' });
    assert.deepEqual(
      answers.map(({ state, message }) => (state === 'news' ? Number(message) : state)),
      ['accepted', ...Array.from({ length: 300 }, (_, at) => at), 'done'],
    );
    assert.deepEqual(master.commands, [{ type: 'roll' }]);
    assert.equal(await client.xlen(keys.commands(master.identity)), 0);
    assert.ok((await client.pttl(keys.commands(master.identity))) > 0, 'the stream expires');
  });

  it('that is malformed is answered if it can be, dropped if not, and keeps nobody waiting', async (t) => {
    const master = await startMaster(t, (reply) => reply({ state: 'done', message: 'rolled' }));
    const stream = keys.commands(master.identity);
    await client.xadd(stream, '*', 'nothing', 'of ours');
    await client.xadd(stream, '*', 'command', '{"type":"roll"}', 'reply', 'bull:mail:wait');
    await client.xadd(stream, '*', 'command', '\u0000{', 'reply', keys.reply('junk'));
    assert.deepEqual(await send(master.identity), { state: 'done', message: 'rolled' });
    assert.deepEqual(master.commands, [{ type: 'roll' }]);
    await until(async () => (await client.llen(keys.reply('junk'))) === 1, 'the answer', 5_000);
    const [answer] = await client.lrange(keys.reply('junk'), 0, -1);
    assert.match(answer as string, /"failed".*does not know such a command/);
    assert.ok((await client.pttl(keys.reply('junk'))) > 0, 'answers expire');
    assert.equal(await client.exists('bull:mail:wait'), 0);
    assert.deepEqual(master.warnings, [
      'malformed command dropped',
      'malformed command dropped',
      'malformed command refused',
    ]);
  });

  it('is read again once its key is a stream again', async (t) => {
    const master = await startMaster(t, (reply) => reply({ state: 'done', message: 'rolled' }));
    await client.set(keys.commands(master.identity), 'anybody may write here');
    await until(() => master.warnings.length > 0, 'the warning', 15_000);
    assert.deepEqual(master.warnings, ['commands cannot be read'], 'said once');
    await client.del(keys.commands(master.identity));
    assert.deepEqual(await send(master.identity), { state: 'done', message: 'rolled' });
  });

  it('that nobody takes is withdrawn, and says so', async () => {
    const identity = 'web1:4001:deaf';
    await register(client, NAMESPACE, identity);
    const answer = await send(identity);
    assert.equal(answer.state, 'failed');
    assert.match(
      answer.message,
      /no answer within 5 s: the master does not read its commands; this one is withdrawn/,
    );
    assert.equal(await client.xlen(keys.commands(identity)), 0, 'it is not carried out later');
  });

  it('to a master that goes meanwhile ends with a clear answer', async (t) => {
    const stopping = await startMaster(t, (reply) => {
      reply({ state: 'accepted', message: '' });
      void client.zrem(keys.masters, stopping.identity);
    });
    const stopped = await send(stopping.identity);
    assert.deepEqual(stopped, {
      state: 'failed',
      message: 'the master has stopped; swarm ps shows who is there',
    });

    const killed = await startMaster(t, (reply) => {
      reply({ state: 'accepted', message: '' });
      void client.zadd(keys.masters, Date.now() - 1_000, killed.identity);
    });
    const answer = await send(killed.identity);
    assert.match(answer.message, /the master is gone: no beat for 15 s; swarm ps shows who is there/);
  });

  it('to stop is done when the entry is gone, whether or not the master found the time to say so', async (t) => {
    const master = await startMaster(t, () => {
      void client.zrem(keys.masters, master.identity);
    });
    const order = { namespace: NAMESPACE, master: master.identity, deadlineMs: 10_000 };
    const answer = await sendCommand(client, { type: 'stop', child: null }, order);
    assert.deepEqual(answer, { state: 'done', message: 'stopped' });
  });

  it('ends at the deadline of who sent it', async (t) => {
    const master = await startMaster(t, (reply) => reply({ state: 'accepted', message: '' }));
    const answer = await send(master.identity, { deadlineMs: 300 });
    assert.deepEqual(answer, { state: 'failed', message: 'still under way; swarm ps shows how it goes on' });
  });

  it('outlives a restart of Redis, its last answer too', async (t) => {
    const own = await startRedis();
    let current = own;
    t.after(() => current.stop());
    const replies: Reply[] = [];
    const master = await startMaster(t, (reply) => replies.push(reply), { url: own.url });
    const sender = await open(own.url);
    t.after(() => sender.disconnect());
    const order = { namespace: NAMESPACE, master: master.identity, deadlineMs: 30_000 };
    const answers: Answer[] = [];
    const pending = sendCommand(
      sender,
      { type: 'roll' },
      { ...order, onAnswer: (answer) => answers.push(answer) },
    );
    await until(() => replies.length === 1, 'the command', 5_000);
    replies[0]?.({ state: 'accepted', message: '' });
    await until(() => answers.length === 1, 'its acceptance', 5_000);
    await own.stop();
    current = await startRedis({ port: own.port });
    // the master is not in the registry again before its next beat
    await until(() => sender.status === 'ready', 'the sender is connected', 5_000);
    replies[0]?.({ state: 'done', message: 'while Redis was away' });
    const writing = await open(own.url);
    await register(writing, NAMESPACE, master.identity);
    writing.disconnect();
    assert.deepEqual(await pending, { state: 'done', message: 'while Redis was away' });
  });

  it('is sent through Registry, to all masters that are meant', async (t) => {
    const namespace = 'several';
    const order: string[] = [];
    const answerWith =
      (name: string, state: 'done' | 'failed'): ((reply: Reply) => void) =>
      (reply) => {
        order.push(name);
        reply({ state: 'accepted', message: '' });
        setImmediate(() => {
          order.push(`${name} ends`);
          reply({ state, message: name });
        });
      };
    const first = await startMaster(t, answerWith('first', 'done'), { namespace });
    const second = await startMaster(t, answerWith('second', 'failed'), { namespace });
    const third = await startMaster(t, answerWith('third', 'done'), { namespace });
    const registry = new Registry({ redis: server.url, namespace });
    t.after(() => registry.close());
    const identities = (await registry.masters()).map(({ identity }) => identity);
    assert.deepEqual(identities.toSorted(), [first.identity, second.identity, third.identity].toSorted());

    const quiet = await registry.send({ type: 'quiet', target: first.identity });
    assert.deepEqual(quiet, [{ master: first.identity, child: null, state: 'done', message: 'first' }]);
    order.length = 0;
    const stopped = await registry.send({ type: 'resume', target: 'all' });
    assert.deepEqual(
      stopped.map(({ master, state }) => [master, state]),
      identities.map((identity) => [identity, identity === second.identity ? 'failed' : 'done']),
    );
    order.length = 0;
    const heard: string[] = [];
    const rolled = await registry.send({ type: 'roll' }, { onAnswer: ({ state }) => heard.push(state) });
    const failedAt = rolled.findIndex(({ master }) => master === second.identity);
    assert.deepEqual(order.length, 2 * (failedAt + 1), 'one by one, and none after the one that failed');
    for (const { state, message } of rolled.slice(failedAt + 1)) {
      assert.deepEqual([state, message], ['failed', `not rolled, because ${second.identity} was not`]);
    }
    assert.equal(heard.filter((state) => state === 'accepted').length, failedAt + 1);

    await assert.rejects(registry.send({ type: 'quiet', target: 'nobody' }), (error) => {
      return error instanceof SwarmError && error.code === 'SWARM_NO_TARGET';
    });
    const borrowed = new Registry({ redis: client, namespace });
    const [again] = await borrowed.send({ type: 'quiet', target: third.identity });
    assert.equal(again?.state, 'done', 'with a client of somebody else');
  });
});
