/** Counting the connections of a fleet. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { describe, it } from 'node:test';
import { fleetConnections, tooFewClients } from '../dist/master/connections.js';
import { connectionsTo, isSameEndpoint, parseTcpSockets } from '../dist/process/connections.js';

const HEAD =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';
const REST = '00000000:00000000 02:00000A14 00000000     0        0';

describe('sockets as the kernel shows them', () => {
  it('are those whose connection stands, with where they lead', () => {
    const text =
      HEAD +
      `   0: 0100007F:1F37 00000000:0000 0A ${REST} 111 1 0\n` +
      `   1: 0100007F:C350 0100007F:1F37 01 ${REST} 222 1 0\n` +
      `   2: 0200000A:C350 07001EAC:18EB 01 ${REST} 333 1 0\n`;
    assert.deepEqual(parseTcpSockets(text), [
      { inode: 222, remote: { address: '127.0.0.1', port: 7991 } },
      { inode: 333, remote: { address: '172.30.0.7', port: 6379 } },
    ]);
  });

  it('of IPv6, and of IPv4 within it', () => {
    const [six, mapped] = parseTcpSockets(
      `${HEAD}   0: 00000000000000000000000001000000:C350 B80D01200000000000000000010000A0:18EB 01 ${REST} 1 1\n` +
        `   1: 0000000000000000FFFF00000100007F:C350 0000000000000000FFFF00000100007F:18EB 01 ${REST} 2 1\n`,
    );
    assert.ok(
      six && isSameEndpoint(six.remote, { address: '2001:db8::a000:1', port: 6379 }),
      six?.remote.address,
    );
    assert.equal(mapped?.remote.address, '127.0.0.1');
  });

  it('nonsense is none', () => {
    assert.deepEqual(parseTcpSockets('\nx y z\n0: a b 01\n'), []);
  });
});

describe('one endpoint', () => {
  const same = (one: string, other: string) =>
    isSameEndpoint({ address: one, port: 1 }, { address: other, port: 1 });

  it('has several names', () => {
    assert.ok(same('127.0.0.1', '::1') && same('127.0.0.1', '127.0.1.1') && same('::ffff:127.0.0.1', '::1'));
    assert.ok(same('::ffff:10.0.0.1', '10.0.0.1') && same('fe80::1', 'fe80:0:0:0:0:0:0:1'));
  });

  it('is not another', () => {
    assert.ok(!same('10.0.0.1', '10.0.0.2') && !same('::1', 'fe80::1') && !same('10.0.0.1', '127.0.0.1'));
    assert.ok(!isSameEndpoint({ address: '::1', port: 1 }, { address: '::1', port: 2 }));
  });
});

describe('connections of processes', () => {
  it('are counted by pid', async (t) => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const script = `const net=require('net');let n=0;for(let i=0;i<3;i++)net.connect(${port},'127.0.0.1',()=>{if(++n===3)console.log('up')})`;
    const other = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const own = connect(port, '127.0.0.1');
    own.on('error', () => {});
    t.after(() => {
      other.kill('SIGKILL');
      own.destroy();
      server.close();
    });
    await Promise.all([once(other.stdout, 'data'), once(own, 'connect')]);
    const counted = connectionsTo(
      [process.pid, other.pid as number, 2 ** 22 + 1],
      [{ address: '::1', port }],
    );
    if (counted === null) return t.skip('the kernel does not show it here');
    assert.deepEqual([...counted.values()], [1, 3, 0]);
  });
});

describe('a fleet', () => {
  it('is summed up', () => {
    const counted = new Map([
      [1, 2],
      [10, 3],
      [11, 5],
    ]);
    assert.deepEqual(fleetConnections(counted, [10, 11]), { children: 2, perChild: 5, master: 2, inAll: 10 });
    assert.equal(fleetConnections(null, [10]), null);
    assert.equal(fleetConnections(counted, []), null);
  });

  it('needs room for one child more', () => {
    const fleet = { children: 4, perChild: 3, master: 2, inAll: 14 };
    assert.equal(tooFewClients(fleet, { connected: 17, max: 20 }), null);
    assert.equal(tooFewClients(fleet, { connected: null, max: 20 }), null);
    const said = tooFewClients(fleet, { connected: 18, max: 20 });
    assert.match(
      said ?? '',
      /^Redis has 18 of at most 20 connections, 14 of them from here: a replacement needs 3 more/,
    );
  });
});
