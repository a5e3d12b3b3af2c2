/** Servers that take what is sent to them and never answer. */
import { spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { temporaryDirectory } from './programs.js';

const DNS_PORT = 53;
/** $1: what to resolve names by; the rest: the command, which it becomes. */
const WITH_RESOLVER = 'mount --bind "$1" /etc/resolv.conf && shift && exec "$@"';
const UNSHARED = ['unshare', '--mount', 'sh', '-c', WITH_RESOLVER, 'sh'];

/** Takes connections and requests. @returns its port */
export async function silentServer(t: TestContext): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.resume();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('a port was to be had');
  return address.port;
}

/** @returns a command to run others by, for which names are asked of a server that never answers; else why there is none */
export async function silentNames(t: TestContext): Promise<readonly string[] | string> {
  // of loopback, and nobody else's: the port is not ours to choose
  const address = `127.77.${randomInt(1, 255)}.${randomInt(1, 255)}`;
  const file = join(await temporaryDirectory(t), 'resolv.conf');
  await writeFile(file, `nameserver ${address}\noptions timeout:30 attempts:9\n`);
  const [command = '', ...words] = [...UNSHARED, file];
  const { status, error, stderr } = spawnSync(command, [...words, 'true'], { encoding: 'utf8' });
  if (status !== 0) return `no resolver of one's own: ${error?.message ?? stderr.trim()}`;
  const socket = createSocket('udp4');
  try {
    socket.bind(DNS_PORT, address);
    await once(socket, 'listening');
  } catch (cause) {
    return `no port for a name server: ${(cause as Error).message}`;
  }
  t.after(() => socket.close());
  return [command, ...words];
}
