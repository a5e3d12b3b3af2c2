/**
 * How many TCP connections processes of ours have to some server, by what the kernel shows of their sockets. Asking
 * the server (CLIENT LIST) would not say whose they are, and hosted ones forbid it. Pure parsing; the reading is
 * one function, for moments that are rare: it looks at each file descriptor.
 */
import fs from 'node:fs';

export interface Endpoint {
  address: string;
  port: number;
}

export interface TcpSocket {
  inode: number;
  remote: Endpoint;
}

const ESTABLISHED = '01';

/** Lines of `/proc/net/tcp` or `tcp6` whose connection stands. */
export function parseTcpSockets(text: string): TcpSocket[] {
  return text.split('\n').flatMap((line): TcpSocket[] => {
    const [, , remote = '', state, , , , , , inode = ''] = line.trim().split(/\s+/);
    const [address = '', port = ''] = remote.split(':');
    if (state !== ESTABLISHED || !/^(?:[0-9A-F]{8}|[0-9A-F]{32})$/.test(address)) return [];
    return [
      { inode: Number(inode), remote: { address: addressOf(address), port: Number.parseInt(port, 16) } },
    ];
  });
}

/** Words of 32 bits in the order of the machine, which is little-endian wherever we run. */
function addressOf(hex: string): string {
  const bytes = (hex.match(/.{8}/g) ?? []).flatMap((word) => (word.match(/../g) ?? []).reverse());
  if (bytes.length === 4) return bytes.map((byte) => Number.parseInt(byte, 16)).join('.');
  const isMapped =
    bytes.slice(0, 10).every((byte) => byte === '00') && bytes[10] === 'FF' && bytes[11] === 'FF';
  if (isMapped)
    return bytes
      .slice(12)
      .map((byte) => Number.parseInt(byte, 16))
      .join('.');
  return (bytes.join('').match(/.{4}/g) ?? [])
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':');
}

/** The same server, by whatever name of loopback it is called. */
export function isSameEndpoint(one: Endpoint, other: Endpoint): boolean {
  const name = ({ address }: Endpoint): string => (isLoopback(address) ? 'loopback' : canonical(address));
  return one.port === other.port && name(one) === name(other);
}

function isLoopback(address: string): boolean {
  return (
    address.startsWith('127.') || canonical(address) === canonical('::1') || address.startsWith('::ffff:127.')
  );
}

/** An IPv6 address with all of its groups written out; of an IPv4 one that is mapped, that one. */
function canonical(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined || !address.includes(':')) return mapped ?? address;
  const [before = '', after = ''] = address.toLowerCase().split('::');
  const [head, tail] = [before, after].map((part) => part.split(':').filter(Boolean)) as [string[], string[]];
  const zeros = address.includes('::')
    ? Array<string>(Math.max(0, 8 - head.length - tail.length)).fill('0')
    : [];
  return [...head, ...zeros, ...tail].map((group) => Number.parseInt(group, 16).toString(16)).join(':');
}

/** By pid, as far as they are alive; null: the kernel does not show it here (macOS). */
export function connectionsTo(
  pids: readonly number[],
  endpoints: readonly Endpoint[],
): Map<number, number> | null {
  const tables = ['/proc/net/tcp', '/proc/net/tcp6'].map(read).filter((text) => text !== null);
  if (tables.length === 0) return null;
  const sockets = tables.flatMap(parseTcpSockets);
  const wanted = new Set(
    sockets
      .filter(({ remote }) => endpoints.some((endpoint) => isSameEndpoint(endpoint, remote)))
      .map(({ inode }) => `socket:[${inode}]`),
  );
  return new Map(pids.map((pid) => [pid, openFiles(pid).filter((file) => wanted.has(file)).length]));
}

function openFiles(pid: number): string[] {
  const directory = `/proc/${pid}/fd`;
  try {
    return fs.readdirSync(directory).flatMap((name) => {
      try {
        return [fs.readlinkSync(`${directory}/${name}`)];
      } catch {
        return [];
      }
    });
  } catch {
    return [];
  }
}

function read(path: string): string | null {
  try {
    return fs.readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
