import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { readNativeSide, readStartedProcesses } from '../dist/process/native-side.js';
import { findPeer, findUnix, formatAddress } from '../dist/process/sockets.js';
import { parseSyscall } from '../dist/process/syscalls.js';

describe('the call that a thread is in', () => {
  it('has a name, and what it is about', () => {
    const args = '0x1f 0x7ffe0000 0x1 0x0 0x0 0x0 0x7ffd 0x7f00';
    assert.deepEqual(parseSyscall(`0 ${args}`, 'x64'), { name: 'read', about: { descriptor: 31 } });
    assert.deepEqual(parseSyscall(`63 ${args}`, 'arm64'), { name: 'read', about: { descriptor: 31 } });
    assert.deepEqual(parseSyscall(`257 ${args}`, 'x64'), { name: 'openat', about: { pathAt: 0x7ffe0000 } });
    assert.deepEqual(parseSyscall(`202 ${args}`, 'x64'), { name: 'futex', about: null });
    assert.deepEqual(parseSyscall(`9999 ${args}`, 'x64'), { name: 'syscall 9999', about: null });
    assert.deepEqual(parseSyscall(`0 ${args}`, 'riscv64'), { name: 'syscall 0', about: null });
    assert.equal(parseSyscall('running\n', 'x64'), 'running');
    assert.deepEqual(parseSyscall('-1 0x7ffd 0x7f00 0x0', 'x64'), { name: 'none', about: null });
  });

  it('is not known from any other text', () => {
    assert.equal(parseSyscall('', 'x64'), null);
    fc.assert(
      fc.property(fc.string(), (text) => {
        parseSyscall(text, 'x64');
      }),
    );
  });
});

describe('the peer of a socket', () => {
  const TCP = [
    '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode',
    '   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 100 1 0',
    '   1: 0100007F:A001 0200000A:18EB 01 00000000:00000000 00:00000000 00000000     0        0 101 1 0',
  ].join('\n');

  it('is found by its inode', () => {
    assert.equal(findPeer(TCP, '101'), '10.0.0.2:6379');
    assert.equal(findPeer(TCP, '100'), 'listening on 127.0.0.1:8080');
    assert.equal(findPeer(TCP, '999'), null);
    const unix =
      'Num RefCount Protocol Flags Type St Inode Path\n0: 2 0 10000 0001 01 77 /run/x.sock\n0: 2 0 0 1 3 78';
    assert.equal(findUnix(unix, '77'), '/run/x.sock');
    assert.equal(findUnix(unix, '78'), '(unnamed)');
  });

  it('is written as people write it', () => {
    assert.equal(formatAddress('00000000000000000000000001000000:0050'), '[::1]:80');
    assert.equal(formatAddress('0000000000000000FFFF00000100007F:0050'), '127.0.0.1:80');
    assert.equal(formatAddress('B80D01200000000067452301EFCDAB89:0050'), '[2001:db8::123:4567:89ab:cdef]:80');
  });
});

describe('a process as the kernel sees it', {
  skip: process.platform === 'linux' ? false : 'no /proc',
}, () => {
  it('is known by state, call and what it has started', async (t) => {
    const child = spawn('sleep', ['613'], { stdio: 'ignore' });
    t.after(async () => {
      child.kill('SIGKILL');
      await once(child, 'exit');
    });
    const processes = readStartedProcesses(process.pid);
    const started = processes.find(({ pid }) => pid === child.pid);
    assert.equal(started?.command, 'sleep 613');
    assert.ok((started?.ageMs ?? -1) < 60_000);
    const own = readNativeSide(process.pid, processes);
    assert.equal(own?.state, 'R');
    assert.equal(typeof own?.command, 'string');
    const other = readNativeSide(child.pid as number, []);
    assert.match(other?.state ?? '', /^[SR]$/);
  });

  it('that is gone is not known', () => {
    assert.equal(readNativeSide(2 ** 22 + 1, []), null);
    assert.deepEqual(readStartedProcesses(2 ** 22 + 1), []);
  });
});
