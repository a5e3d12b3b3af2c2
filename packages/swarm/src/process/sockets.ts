/** Whom a socket is connected to, by its inode, from the kernel's tables. */
import fs from 'node:fs';

/** A host with a great many connections: what is beyond that is not searched. */
const MAX_TABLE_BYTES = 4 * 1_024 * 1_024;
/** Columns of `/proc/net/tcp`. */
const LOCAL = 1;
const REMOTE = 2;
const STATE = 3;
const INODE = 9;
const LISTENS = '0A';

/** @param link what `/proc/<pid>/fd/<n>` points to, `socket:[4711]`; @returns null: not known */
export function socketPeer(pid: number, link: string): string | null {
  const inode = /^socket:\[(\d+)\]$/.exec(link)?.[1];
  if (inode === undefined) return null;
  for (const table of ['tcp', 'tcp6', 'udp', 'udp6']) {
    const peer = findPeer(readTable(`/proc/${pid}/net/${table}`), inode);
    if (peer !== null) return `${table.slice(0, 3)} ${peer}`;
  }
  const unix = findUnix(readTable(`/proc/${pid}/net/unix`), inode);
  return unix === null ? null : `unix ${unix}`;
}

/** In a table of `/proc/net/tcp`'s form. Pure. */
export function findPeer(table: string, inode: string): string | null {
  for (const line of table.split('\n')) {
    const columns = line.trim().split(/\s+/);
    if (columns[INODE] !== inode) continue;
    const listens = columns[STATE] === LISTENS;
    const address = formatAddress(columns[listens ? LOCAL : REMOTE] ?? '');
    return listens ? `listening on ${address}` : address;
  }
  return null;
}

/** In a table of `/proc/net/unix`'s form: its inode, then its path if it has one. Pure. */
export function findUnix(table: string, inode: string): string | null {
  for (const line of table.split('\n')) {
    const columns = line.trim().split(/\s+/);
    if (columns[6] === inode) return columns[7] ?? '(unnamed)';
  }
  return null;
}

/** `0100007F:1F90` is 127.0.0.1:8080: words of four bytes in the machine's own order. */
export function formatAddress(hex: string): string {
  const [host = '', port = ''] = hex.split(':');
  const words = host.match(/.{8}/g) ?? [];
  const bytes = words.flatMap((word) => (word.match(/../g) ?? []).reverse());
  const number = Number.parseInt(port, 16);
  if (bytes.length === 4) return `${bytes.map((byte) => Number.parseInt(byte, 16)).join('.')}:${number}`;
  const mapped = bytes.slice(0, 12).join('') === '00000000000000000000ffff'.toUpperCase();
  if (mapped)
    return `${bytes
      .slice(12)
      .map((byte) => Number.parseInt(byte, 16))
      .join('.')}:${number}`;
  const groups = Array.from({ length: 8 }, (_, at) =>
    `${bytes[2 * at]}${bytes[2 * at + 1]}`.toLowerCase().replace(/^0{1,3}/, ''),
  );
  return `[${groups
    .join(':')
    .replace(/\b0(:0)+\b/, ':')
    .replace(/:{3,}/, '::')}]:${number}`;
}

function readTable(path: string): string {
  try {
    const fd = fs.openSync(path, 'r');
    try {
      const buffer = Buffer.alloc(MAX_TABLE_BYTES);
      let length = 0;
      for (let read = -1; read !== 0 && length < buffer.length; length += read) {
        read = fs.readSync(fd, buffer, length, buffer.length - length, null);
      }
      return buffer.toString('latin1', 0, length);
    } finally {
      fs.closeSync(fd);
    }
  } catch {
    return '';
  }
}
