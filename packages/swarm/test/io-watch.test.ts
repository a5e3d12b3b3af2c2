import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, get, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { IoWatch, redact } from '../dist/child/io-watch.js';
import type { PendingIo } from '../dist/dump.js';

describe('input and output that is under way', () => {
  let server: Server;
  let port: number;
  let job: { queue: string; id: string } | null = null;
  const watch = new IoWatch(() => job);
  before(async () => {
    watch.listen();
    // answers `/begin` with a beginning, and nothing else ever
    server = createServer((request, response) => {
      if (request.url?.startsWith('/whole')) response.end('all');
      if (request.url?.startsWith('/begin')) response.write('a');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    ({ port } = server.address() as AddressInfo);
  });
  after(() => {
    server.closeAllConnections();
    server.close();
  });

  const only = (type: PendingIo['type']) => watch.list().filter((each) => each.type === type);
  async function until(what: string, is: () => boolean): Promise<void> {
    for (let turns = 0; !is(); turns += 1) {
      assert.ok(turns < 1_000, `${what}: ${JSON.stringify(watch.list())}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  it('is a request of fetch, whose it is, and how far it is', async () => {
    const abort = new AbortController();
    job = { queue: 'mail', id: '7' };
    const asked = fetch(`http://127.0.0.1:${port}/users?token=secret`, { signal: abort.signal }).catch(
      () => {},
    );
    job = null;
    await until('sent', () => only('fetch')[0]?.phase === 'sent, no answer yet');
    const [request] = only('fetch');
    assert.equal(request?.what, `GET http://127.0.0.1:${port}/users?…`);
    assert.deepEqual(request?.job, { queue: 'mail', id: '7' });
    assert.match(request?.peer ?? '', new RegExp(`^127\\.0\\.0\\.1:${port} `));
    // its socket is not told of a second time
    assert.ok(!watch.list().some(({ type, peer }) => type === 'socket' && peer === request?.peer));
    abort.abort();
    await asked;
    await until('gone', () => only('fetch').length === 0);
  });

  it('is a request of http, until it is closed', async () => {
    const request = get(`http://127.0.0.1:${port}/begin?x=1`);
    request.on('error', () => {});
    await until('answered', () => only('http')[0]?.phase === 'reading the body');
    assert.equal(only('http')[0]?.what, `GET http://127.0.0.1:${port}/begin?…`);
    request.destroy();
    await until('gone', () => only('http').length === 0);
  });

  it('is over when it has ended', async () => {
    assert.equal(await (await fetch(`http://127.0.0.1:${port}/whole`)).text(), 'all');
    assert.deepEqual(only('fetch'), []);
  });

  it('is a socket', async () => {
    const socket = connect({ host: '127.0.0.1', port });
    const connecting = only('socket').find(({ phase }) => phase !== 'open');
    assert.equal(connecting?.phase, 'connecting');
    const named = new Promise<PendingIo[]>((resolve) => setImmediate(() => resolve(only('socket'))));
    await once(socket, 'connect');
    assert.ok(
      (await named).some(
        ({ what, peer }) => what === `127.0.0.1:${port}` || peer?.startsWith(`127.0.0.1:${port}`),
      ),
    );
    const open = () => only('socket').filter(({ peer }) => peer?.startsWith(`127.0.0.1:${port} `));
    const before = open().length;
    assert.ok(before > 0);
    socket.destroy();
    await until('gone', () => open().length < before);
  });

  it('is shown without query and credentials', () => {
    assert.equal(redact('https://me:secret@host/path?a=b?c'), 'https://host/path?…');
    assert.equal(redact('http://host/a@b'), 'http://host/a@b');
    assert.equal(redact(`http://host/${'x'.repeat(1_000)}`).length, 300);
  });
});
