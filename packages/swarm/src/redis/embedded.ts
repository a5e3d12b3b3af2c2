/**
 * A Redis of one's own where none was named: one server a state directory, found again by the next
 * master and by producers. It runs in its own session, so it survives the master that started it;
 * whoever leaves last stops it.
 *
 * Looking for it, starting and stopping happen under a lock, so that two masters that start at once get
 * one server, and one that starts while another leaves is not left without. Two servers must never share
 * a data directory: before one is started, the process that the pid file names must be gone.
 *
 * Rejected: a server per master (producers and the next master could not find the jobs), and
 * `daemonize yes` (its early failures would only be in a log).
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { redisError, SwarmError } from '../errors.js';
import { isAlive } from '../process/proc.js';
import { type EmbeddedLog, launch, startFailed } from './launch.js';
import { acquireLock } from './lock.js';
import { Probe } from './probe.js';
import { isServerTitle, readTitle } from './server-title.js';
import {
  freePort,
  pathsIn,
  prepareState,
  readSettings,
  type Settings,
  type StatePaths,
  stateError,
  urlOf,
} from './state.js';

export { resolveRedis } from './resolve.js';
export { stateDirectory } from './state.js';

export interface EmbeddedOptions {
  /** Usually `stateDirectory()`. */
  stateDir: string;
  log: EmbeddedLog;
  /** Only with the port and password that it had: programs know these. */
  mustBeSame?: boolean;
}

export interface EmbeddedServer {
  /** Password included. */
  url: string;
  /** E.g. `redis-server 7.0.15`. */
  server: string;
  pid: number;
  /** It was running already. */
  reused: boolean;
  /** Stops the server whoever uses it; its data stays. */
  stop(): Promise<void>;
  /**
   * Stops the server unless somebody else is connected. Close your own connections first, or say what
   * their names begin with. False: it was left running.
   */
  stopIfUnused(options?: { ownName?: string }): Promise<boolean>;
  /** Leaves it running. */
  close(): void;
}

/** What a master calls its connections; see master.ts. */
const MASTER_NAME = /^swarm-master-(\d+)/;
const LOCK_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 5_000;
const POLL_MS = 50;
/** A started server is held by a connection until its master has its own, so that no leaving master stops it. */
const HOLD_MS = 5_000;

/** Finds the server of this state directory, or starts one. Throws `SwarmError`s with exit code 69. */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedServer> {
  const paths = pathsIn(options.stateDir);
  try {
    prepareState(paths);
    return await underLock(paths, async () => {
      const found = await findRunning(paths, options);
      if ('probe' in found) return handle(paths, found.settings, found.probe, true);
      const settings = await launch(paths, found.settings, options);
      rmSync(paths.stopped, { force: true });
      const probe = await Probe.open(settings, paths.config);
      if (!probe.ok) throw startFailed(paths, `it does not answer (${probe.reason})`);
      options.log(
        'info',
        `started an embedded ${probe.server} on 127.0.0.1:${settings.port}, data in ${paths.data}`,
      );
      return handle(paths, settings, probe, false);
    });
  } catch (error) {
    throw error instanceof SwarmError ? error : stateError(options.stateDir, error);
  }
}

/** The URL of this state directory's server, or null when none runs. */
export async function embeddedUrl(stateDir: string): Promise<string | null> {
  const paths = pathsIn(stateDir);
  const settings = settingsOrNone(paths);
  if (settings === null) return null;
  const probe = await Probe.open(settings, paths.config);
  if (!probe.ok) return null;
  probe.close();
  return urlOf(settings);
}

/**
 * Stops this state directory's server; its data stays. Returns null when none runs.
 *
 * @param options `force`: also under masters that use it, and these leave it stopped
 */
export async function stopEmbedded(
  stateDir: string,
  { force = false }: { force?: boolean } = {},
): Promise<{ pid: number; otherClients: number } | null> {
  const paths = pathsIn(stateDir);
  const settings = settingsOrNone(paths);
  if (settings === null) return null;
  return await underLock(paths, async () => {
    const probe = await Probe.open(settings, paths.config);
    if (!probe.ok) return null;
    const users = await probe.otherNames();
    const masters = [...new Set(users.flatMap((name) => MASTER_NAME.exec(name)?.[1] ?? []))];
    if (masters.length > 0 && !force) {
      probe.close();
      throw inUse(probe.pid, masters, users.filter((name) => !MASTER_NAME.test(name)).length);
    }
    if (masters.length > 0) writeFileSync(paths.stopped, '', { mode: 0o600 });
    await shutDown(probe);
    return { pid: probe.pid, otherClients: users.length };
  });
}

function inUse(pid: number, masters: readonly string[], others: number): SwarmError {
  const who = `${masters.length === 1 ? 'the master with pid' : 'masters with pids'} ${masters.join(', ')}`;
  const also = others === 0 ? '' : ` and ${others} other ${others === 1 ? 'connection' : 'connections'}`;
  return redisError(
    'SWARM_EMBEDDED_IN_USE',
    `the embedded Redis (pid ${pid}) is used by ${who}${also}; stop these first (swarm stop all), or stop it under them with --force`,
  );
}

function settingsOrNone(paths: StatePaths): Settings | null {
  try {
    const settings = readSettings(paths);
    return typeof settings === 'string' ? null : settings;
  } catch (error) {
    throw error instanceof SwarmError ? error : stateError(paths.directory, error);
  }
}

async function underLock<T>(paths: StatePaths, work: () => Promise<T>): Promise<T> {
  const lock = await acquireLock(paths.lock, LOCK_TIMEOUT_MS).catch((error: unknown) => {
    throw stateError(paths.directory, error);
  });
  if (lock === null) {
    throw redisError(
      'SWARM_EMBEDDED_FAILED',
      `another process has held ${paths.lock} for ${LOCK_TIMEOUT_MS / 1000} s; see what it does, or name a Redis with --redis URL`,
    );
  }
  try {
    return await work();
  } finally {
    lock.release();
  }
}

type Running = { settings: Settings; probe: Probe } | { settings: Settings | null };

/** Under the lock. Without a probe: no server runs on this data, and one may be started. */
async function findRunning(paths: StatePaths, { log, mustBeSame }: EmbeddedOptions): Promise<Running> {
  const settings = readSettings(paths);
  if (mustBeSame && typeof settings === 'string')
    throw startFailed(paths, `${paths.config} is gone or damaged`);
  if (settings === 'none') {
    await previousGone(paths, null);
    return { settings: null };
  }
  if (settings === 'damaged') {
    await previousGone(paths, null);
    log('warn', `${paths.config} was damaged; the embedded Redis gets a new port and password`);
    return { settings: null };
  }
  const probe = await Probe.open(settings, paths.config);
  if (probe.ok) return { settings, probe };
  await previousGone(paths, settings.port);
  if (probe.reason !== 'ECONNREFUSED') {
    if (mustBeSame) throw startFailed(paths, `its port ${settings.port} is in use by something else`);
    const port = await freePort();
    log(
      'warn',
      `port ${settings.port} of the embedded Redis is in use by something else; it moves to ${port}`,
    );
    return { settings: { ...settings, port } };
  }
  return { settings };
}

/** Waits until the server that the pid file names is gone: it may be stopping just now. */
async function previousGone(paths: StatePaths, port: number | null): Promise<void> {
  const deadlineMs = performance.now() + STOP_TIMEOUT_MS;
  for (;;) {
    const pid = pidIn(paths.pidFile);
    if (pid === null || !isServer(pid, port)) return;
    if (performance.now() >= deadlineMs) {
      throw redisError(
        'SWARM_EMBEDDED_FAILED',
        `the embedded Redis (pid ${pid}) runs but cannot be used with what ${paths.config} says; stop it (kill ${pid}) and start again, or name a Redis with --redis URL`,
      );
    }
    await sleep(POLL_MS);
  }
}

function pidIn(pidFile: string): number | null {
  try {
    const pid = Number(readFileSync(pidFile, 'utf8').trim());
    return Number.isSafeInteger(pid) && pid > 0 ? pid : null;
  } catch {
    return null;
  }
}

/** Redis titles itself `redis-server 127.0.0.1:<port>`; where no title can be read, a living pid is believed. */
function isServer(pid: number, port: number | null): boolean {
  if (!isAlive(pid)) return false;
  const title = readTitle(pid);
  return title === null || isServerTitle(title, port);
}

function handle(paths: StatePaths, settings: Settings, held: Probe, reused: boolean): EmbeddedServer {
  const letGo = setTimeout(() => held.close(), HOLD_MS);
  letGo.unref();
  held.unref();
  const close = () => {
    clearTimeout(letGo);
    held.close();
  };
  return {
    url: urlOf(settings),
    server: held.server,
    pid: held.pid,
    reused,
    close,
    async stop() {
      close();
      await underLock(paths, async () => {
        const probe = await Probe.open(settings, paths.config);
        if (probe.ok) await shutDown(probe);
      });
    },
    async stopIfUnused({ ownName } = {}) {
      close();
      return await underLock(paths, async () => {
        const probe = await Probe.open(settings, paths.config);
        if (!probe.ok) return false;
        if (await isUnused(probe, ownName)) {
          await shutDown(probe);
          return true;
        }
        probe.close();
        return false;
      });
    },
  };
}

/** Connections that were just closed may still be listed, and `swarm stop` reads its answer just now. */
async function isUnused(probe: Probe, ownName: string | undefined): Promise<boolean> {
  for (let look = 0; look < 12; look += 1) {
    if ((await probe.otherClients(ownName)) === 0) return true;
    await sleep(POLL_MS);
  }
  return false;
}

async function shutDown(probe: Probe): Promise<void> {
  try {
    await probe.shutdown();
  } catch (error) {
    throw redisError(
      'SWARM_EMBEDDED_STOP',
      `the embedded Redis (pid ${probe.pid}) refuses to stop: ${error instanceof Error ? error.message : String(error)}; see its log, or kill ${probe.pid}`,
      error,
    );
  }
  const deadlineMs = performance.now() + STOP_TIMEOUT_MS;
  while (isAlive(probe.pid) && performance.now() < deadlineMs) await sleep(POLL_MS / 5);
}
