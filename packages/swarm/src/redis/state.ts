/**
 * The state directory of the embedded Redis: where it is, and the one file that says how to reach the
 * server, its own configuration. A second file beside it would be a second truth.
 *
 *   <state>/redis.conf   0600, port and password
 *   <state>/redis.lock   while a master looks for, starts or stops the server
 *   <state>/redis.log    what the server says
 *   <state>/redis.stopped  it was stopped under its masters, and is not to come back by itself
 *   <state>/redis/       0700, its data
 */
import { randomBytes, randomInt } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { redisError, type SwarmError } from '../errors.js';
import { codeOf } from './lock.js';
import { checkOwner } from './state-owner.js';

export interface StatePaths {
  directory: string;
  config: string;
  lock: string;
  log: string;
  /** There while the server is to stay stopped. */
  stopped: string;
  data: string;
  pidFile: string;
}

export interface Settings {
  port: number;
  password: string;
}

/**
 * `$XDG_STATE_HOME/swarm`, else `~/.local/state/swarm`. The XDG rules ignore a relative path; so is a HOME that is empty or
 * relative, which would make one directory of each in which swarm is started. Throws `SWARM_STATE_DIRECTORY` where there is no home.
 */
export function stateDirectory(env: NodeJS.ProcessEnv = process.env): string {
  const base = env['XDG_STATE_HOME'];
  if (base?.startsWith('/')) return join(base, 'swarm');
  const home = [() => env['HOME'], () => userInfo().homedir].map(tried).find((path) => path?.startsWith('/'));
  if (home) return join(home, '.local', 'state', 'swarm');
  throw redisError(
    'SWARM_STATE_DIRECTORY',
    `this user has no home directory (HOME is ${JSON.stringify(env['HOME'] ?? null)}) to keep an embedded Redis in; set XDG_STATE_HOME to an absolute path, or name a Redis with --redis URL`,
  );
}

/** A user that is in no list of users has no information. */
function tried(read: () => string | undefined): string | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

export function pathsIn(stateDir: string): StatePaths {
  const data = join(stateDir, 'redis');
  return {
    directory: stateDir,
    config: join(stateDir, 'redis.conf'),
    lock: join(stateDir, 'redis.lock'),
    log: join(stateDir, 'redis.log'),
    stopped: join(stateDir, 'redis.stopped'),
    data,
    pidFile: join(data, 'redis.pid'),
  };
}

export function urlOf({ port, password }: Settings): string {
  return `redis://:${password}@127.0.0.1:${port}`;
}

/** Makes the directories, for this user alone. */
export function prepareState(paths: StatePaths): void {
  checkOwner([paths.directory, paths.data]);
  for (const directory of [paths.directory, paths.data]) {
    makeDirectory(directory);
    chmodSync(directory, 0o700);
  }
  checkOwner([paths.directory, paths.data, paths.config]);
}

/** Not mkdir's own `recursive`: below a parent that answers ENOENT to everything (/proc), Node 20 tries for ever. */
function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return;
    if (codeOf(error) !== 'ENOENT' || existsSync(dirname(path))) throw error;
    makeDirectory(dirname(path));
    mkdirSync(path, { mode: 0o700 });
  }
}

/** `damaged`: the file is there, without a port or a password. */
export function readSettings(paths: StatePaths): Settings | 'none' | 'damaged' {
  checkOwner([paths.directory, paths.config]);
  let text: string;
  try {
    text = readFileSync(paths.config, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return 'none';
    throw error;
  }
  const port = Number(/^port (\d{1,5})$/m.exec(text)?.[1]);
  const password = /^requirepass "?([0-9a-f]{64})"?$/m.exec(text)?.[1];
  if (!(port >= 1 && port <= 65535) || password === undefined) return 'damaged';
  return { port, password };
}

/** Written aside and moved into place, so that nobody reads half of it. */
export function writeSettings(paths: StatePaths, settings: Settings): void {
  const aside = `${paths.config}.${process.pid}`;
  try {
    writeFileSync(aside, configText(paths, settings), { mode: 0o600 });
    renameSync(aside, paths.config);
  } catch (error) {
    rmSync(aside, { force: true });
    throw error;
  }
}

function configText(paths: StatePaths, settings: Settings): string {
  return [
    '# The embedded Redis of swarm. Rewritten whenever swarm starts it; only port and requirepass are kept.',
    'bind 127.0.0.1',
    'protected-mode yes',
    `port ${settings.port}`,
    `requirepass ${settings.password}`,
    `dir ${quote(paths.data)}`,
    `pidfile ${quote(paths.pidFile)}`,
    'daemonize no',
    'appendonly yes',
    'appendfsync everysec',
    'save ""',
    'maxmemory-policy noeviction',
    'loglevel notice',
    '',
  ].join('\n');
}

/** Redis's own quoting; its parser takes one line. */
function quote(path: string): string {
  const escaped = path.replace(/[\\"]/g, '\\$&').replace(/\p{Cc}/gu, (char) => {
    return char < '\u0080' ? `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}` : char;
  });
  return `"${escaped}"`;
}

export function newPassword(): string {
  return randomBytes(32).toString('hex');
}

/**
 * A free loopback port below the range that systems hand out for outgoing connections, so that none of
 * those sits on it when the server comes back.
 */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const port = randomInt(20_000, 32_000);
    if (await canListen(port)) return port;
  }
  throw redisError(
    'SWARM_EMBEDDED_FAILED',
    'no free loopback port between 20000 and 32000 in 50 tries for the embedded Redis; name a Redis with --redis URL',
  );
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** What the file system refused, as an error for the user. */
export function stateError(directory: string, cause: unknown): SwarmError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const full = codeOf(cause) === 'ENOSPC' || codeOf(cause) === 'EDQUOT';
  return redisError(
    'SWARM_STATE_DIRECTORY',
    `the state directory ${directory} of the embedded Redis ${full ? 'is on a full disk' : 'cannot be used'} (${reason}); make ${full ? 'room there' : 'it writable'}, set XDG_STATE_HOME, or name a Redis with --redis URL`,
    cause,
  );
}
