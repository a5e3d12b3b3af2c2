/**
 * Redis addresses: text → `RedisTarget`, the form that may be shown, and the id that may be published.
 *
 * Own parser, not `new URL`: several hosts in one URL are no valid URL, passwords with unescaped `#`,
 * `/` or `?` are common in practice, and no message may ever contain one. What is before the last `@`
 * is secret, whatever it looks like. Loaded in every child, so it imports nothing but Node's crypto and os.
 */
import { createHash } from 'node:crypto';
import { hostname as osHostname } from 'node:os';
import { usageError } from '../errors.js';

export interface HostPort {
  host: string;
  port: number;
}

interface TargetBase {
  username: string | null;
  password: string | null;
  /** The address without secrets, for messages. */
  shown: string;
}

export type RedisTarget =
  | (TargetBase & { kind: 'single'; host: string; port: number; tls: boolean; db: number; family: 0 | 4 | 6 })
  | (TargetBase & { kind: 'unix'; path: string; db: number })
  | (TargetBase & {
      kind: 'sentinel';
      sentinels: HostPort[];
      masterName: string;
      tls: boolean;
      db: number;
      sentinelUsername: string | null;
      sentinelPassword: string | null;
    })
  | (TargetBase & { kind: 'cluster'; nodes: HostPort[]; tls: boolean });

/** As much of a connection's options as says where it leads; ioredis's own names, so its options fit. */
export interface RedisAddress {
  host?: string | null | undefined;
  port?: number | null | undefined;
  path?: string | null | undefined;
  db?: number | null | undefined;
  sentinels?: readonly Partial<HostPort>[] | null | undefined;
  /** Master group name, with sentinels. */
  name?: string | null | undefined;
  /** Start-up nodes of a cluster. */
  nodes?: readonly Partial<HostPort>[] | null | undefined;
}

export const REDIS_URL_FORMS = [
  'redis://[user:password@]host[:port][/db]',
  'rediss://… (TLS)',
  'redis+sentinel://[user:password@]host:port,host:port/masterName[/db]',
  'redis+cluster://[user:password@]host:port,host:port',
  'unix:///path/to/socket[?db=N]',
].join(', ');

const QUERY_KEY = /^[A-Za-z]{1,24}$/;
const DEFAULT_PORT = 6379;
const DEFAULT_SENTINEL_PORT = 26379;
const HOST = /^(?:\[[0-9a-f:.]+(?:%[\w.-]+)?\]|[\p{L}\p{N}._-]+)(?::(\d{1,5}))?$/iu;

interface Parts {
  scheme: string;
  userinfo: string | null;
  hosts: string;
  path: string;
  query: URLSearchParams;
}

/** Any text gives parts or null; nothing here throws. */
function split(text: string): Parts | null {
  const match = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/is.exec(text.trim());
  if (match?.[1] === undefined || match[2] === undefined || /\p{Cc}/u.test(match[2])) return null;
  const rest = match[2];
  const at = rest.startsWith('/') ? -1 : rest.lastIndexOf('@');
  const address = /^([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?$/s.exec(rest.slice(at + 1));
  if (!address || address[4] !== undefined) return null;
  return {
    scheme: match[1].toLowerCase(),
    userinfo: at < 0 ? null : rest.slice(0, at),
    hosts: address[1] ?? '',
    path: address[2] ?? '',
    query: new URLSearchParams(address[3] ?? ''),
  };
}

/**
 * Reads a Redis address. `where` names the flag or variable it came from.
 * Throws `SWARM_BAD_REDIS_URL` (exit 64), whose message has no secret in it.
 */
export function parseRedisUrl(text: string, where: string): RedisTarget {
  const fail: Fail = (problem, cause) =>
    usageError(
      'SWARM_BAD_REDIS_URL',
      `${where} takes ${REDIS_URL_FORMS}; got ${JSON.stringify(redactUrl(text))}: ${problem}`,
      cause,
    );
  const parts = split(text);
  if (!parts) throw fail('it is none of these forms');
  const shown = redactUrl(text);
  const { username, password } = readUserinfo(parts.userinfo, fail);
  const base = { username, password, shown };
  const scheme = /^(rediss?)(?:\+(sentinel|cluster))?$/.exec(parts.scheme);
  if (parts.scheme === 'unix' || parts.scheme === 'redis+unix') {
    if (parts.hosts !== '' || parts.path.length < 2)
      throw fail('a socket needs an absolute path after unix://');
    return { kind: 'unix', ...base, path: decode(parts.path, fail), db: readDb(parts.query.get('db'), fail) };
  }
  if (!scheme) throw fail(`the scheme ${JSON.stringify(`${parts.scheme}://`)} is not known`);
  const tls = scheme[1] === 'rediss';
  if (scheme[2] === 'cluster') {
    if (/[^/]/.test(parts.path)) throw fail('a cluster has no database number or path');
    return { kind: 'cluster', ...base, nodes: readHosts(parts.hosts, DEFAULT_PORT, fail), tls };
  }
  if (scheme[2] === 'sentinel') return readSentinel(parts, base, tls, fail);
  const hosts = readHosts(parts.hosts, DEFAULT_PORT, fail);
  const only = hosts[0];
  if (!only || hosts.length > 1) throw fail('several hosts need redis+sentinel:// or redis+cluster://');
  const family = parts.query.get('family');
  return {
    kind: 'single',
    ...base,
    ...only,
    tls,
    db: readDb(parts.path.replace(/^\//, '') || parts.query.get('db'), fail),
    family: family === '4' ? 4 : family === '6' ? 6 : 0,
  };
}

type Fail = (problem: string, cause?: unknown) => Error;

function readSentinel(
  parts: Parts,
  base: TargetBase,
  tls: boolean,
  fail: Fail,
): Extract<RedisTarget, { kind: 'sentinel' }> {
  const [, masterName = '', db = '', ...more] = parts.path.split('/');
  if (masterName === '' || more.length > 0) throw fail('sentinels need /masterName after the hosts');
  return {
    kind: 'sentinel',
    ...base,
    sentinels: readHosts(parts.hosts, DEFAULT_SENTINEL_PORT, fail),
    masterName: decode(masterName, fail),
    tls,
    db: readDb(db || parts.query.get('db'), fail),
    sentinelUsername: parts.query.get('sentinelUsername'),
    sentinelPassword: parts.query.get('sentinelPassword'),
  };
}

function readUserinfo(
  userinfo: string | null,
  fail: Fail,
): { username: string | null; password: string | null } {
  if (userinfo === null || userinfo === '' || userinfo === ':') return { username: null, password: null };
  const colon = userinfo.indexOf(':');
  if (colon < 0) throw fail('it names a user without a password (a password alone is written :password@)');
  const username = decode(userinfo.slice(0, colon), fail);
  return { username: username === '' ? null : username, password: decode(userinfo.slice(colon + 1), fail) };
}

/** A `%` that begins no escape stands for itself: people paste passwords as they are. */
function decode(text: string, fail: Fail): string {
  try {
    return decodeURIComponent(text.replace(/%(?![0-9a-f]{2})/gi, '%25'));
  } catch (error) {
    throw fail('it has percent-escapes that are not UTF-8', error);
  }
}

function readHosts(text: string, defaultPort: number, fail: Fail): HostPort[] {
  return text.split(',').map((item) => {
    const match = HOST.exec(item);
    if (!match) throw fail('a host is missing or not valid');
    const port = match[1] === undefined ? defaultPort : Number(match[1]);
    if (port < 1 || port > 65535) throw fail('a port is a number from 1 to 65535');
    const host = match[1] === undefined ? item : item.slice(0, -match[1].length - 1);
    return { host: host.replace(/^\[|\]$/g, ''), port };
  });
}

function readDb(text: string | null, fail: Fail): number {
  if (text === null || text === '') return 0;
  if (!/^\d{1,9}$/.test(text)) throw fail('the database is a whole number, such as /0');
  return Number(text);
}

/** The same address without user, password or unknown query values; for logs, messages and process titles. */
export function redactUrl(url: string): string {
  const parts = split(url);
  if (!parts) return HOST.test(url.trim()) ? url.trim() : '***';
  const hosts = parts.hosts.split(',');
  const hostsShown = parts.hosts === '' || hosts.every((host) => HOST.test(host)) ? parts.hosts : '***';
  const query = [...parts.query].map(([key, value]) =>
    // a password without a name stands where a key would
    key === 'db' || key === 'family'
      ? `${key}=${value}`
      : QUERY_KEY.test(key) && value !== ''
        ? `${key}=***`
        : '***',
  );
  const userinfo = parts.userinfo === null || parts.userinfo === '' ? '' : '***@';
  return `${parts.scheme}://${userinfo}${hostsShown}${parts.path}${query.length ? `?${query.join('&')}` : ''}`;
}

/** Where a target leads, for `redisIdOf`. */
export function addressOf(target: RedisTarget): RedisAddress {
  switch (target.kind) {
    case 'single':
      return { host: target.host, port: target.port, db: target.db };
    case 'unix':
      return { path: target.path, db: target.db };
    case 'sentinel':
      return { sentinels: target.sentinels, name: target.masterName, db: target.db };
    case 'cluster':
      return { nodes: target.nodes };
  }
}

/**
 * A short id of a Redis, the same in every process that names it by the same address: 16 hex digits, no
 * secret in it. An address that only means something on this host (loopback, socket) is this host's own,
 * so that two hosts with a local Redis each are not taken for one.
 */
export function redisIdOf(address: RedisAddress, hostname: string = osHostname()): string {
  return createHash('sha256').update(canonical(address, hostname)).digest('hex').slice(0, 16);
}

function canonical(address: RedisAddress, hostname: string): string {
  const db = address.db ?? 0;
  if (address.nodes?.length) return `cluster:${hostList(address.nodes, DEFAULT_PORT, hostname)}`;
  if (address.sentinels?.length) {
    return `sentinel:${hostList(address.sentinels, DEFAULT_SENTINEL_PORT, hostname)}/${address.name ?? ''}/${db}`;
  }
  if (address.path) return `unix:${hostname}:${address.path}/${db}`;
  return `tcp:${hostList([{ host: address.host ?? 'localhost', port: address.port ?? DEFAULT_PORT }], DEFAULT_PORT, hostname)}/${db}`;
}

function hostList(hosts: readonly Partial<HostPort>[], defaultPort: number, hostname: string): string {
  return hosts
    .map(({ host = 'localhost', port = defaultPort }) => {
      const lower = host.toLowerCase().replace(/\.$/, '');
      const local = lower === 'localhost' || lower === '::1' || lower.startsWith('127.');
      return `${local ? `${hostname}!loopback` : lower}:${port}`;
    })
    .sort()
    .join(',');
}
