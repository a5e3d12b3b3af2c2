/** Starts the embedded server's process. The caller holds the lock, and knows that no other server has the data. */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, closeSync, constants, openSync, readFileSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { redisError, type SwarmError } from '../errors.js';
import { Probe } from './probe.js';
import { freePort, newPassword, type Settings, type StatePaths, writeSettings } from './state.js';

export type EmbeddedLog = (level: 'info' | 'warn', message: string) => void;

export const SERVER_NAMES = ['redis-server', 'valkey-server'] as const;

const START_TIMEOUT_MS = 15_000;
const POLL_MS = 50;

/** Returns the settings of a server that listens: the kept ones, unless their port is taken. */
export async function launch(
  paths: StatePaths,
  kept: Settings | null,
  { log, mustBeSame = false }: { log: EmbeddedLog; mustBeSame?: boolean },
): Promise<Settings> {
  const binary = findServer(process.env['PATH'] ?? '');
  let settings = kept ?? { port: await freePort(), password: newPassword() };
  for (let attempt = 1; ; attempt += 1) {
    writeSettings(paths, settings);
    const outcome = await spawnServer(binary, paths, settings);
    if (outcome === 'up') return settings;
    if (!/Address already in use/i.test(outcome) || mustBeSame || attempt === 3)
      throw startFailed(paths, outcome);
    settings = { ...settings, port: await freePort() };
    log('warn', `the port of the embedded Redis is taken; it moves to ${settings.port}`);
  }
}

/** The first in `path` (a PATH), redis before valkey. */
export function findServer(path: string): string {
  for (const name of SERVER_NAMES) {
    for (const directory of path.split(delimiter).filter((entry) => entry !== '')) {
      const candidate = join(directory, name);
      try {
        accessSync(candidate, constants.X_OK);
        if (statSync(candidate).isFile()) return candidate;
      } catch {
        // Not here.
      }
    }
  }
  throw redisError(
    'SWARM_NO_REDIS_SERVER',
    'no Redis was named, and no redis-server or valkey-server is in PATH to run one; install it (Debian, Ubuntu: apt install redis-server; macOS: brew install redis), or name a Redis with --redis URL',
  );
}

/** `up`, or why not: the last lines it wrote. */
async function spawnServer(binary: string, paths: StatePaths, settings: Settings): Promise<string> {
  // Begins anew at each start: it is for looking at the last one, and nothing rotates it.
  const log = openSync(paths.log, 'w', 0o600);
  let server: ChildProcess;
  try {
    server = spawn(binary, [paths.config], {
      detached: true,
      cwd: paths.directory,
      stdio: ['ignore', log, log],
      // The master's environment may hold secrets that are none of the server's business.
      env: { PATH: process.env['PATH'] ?? '' },
    });
  } finally {
    closeSync(log);
  }
  let ended: string | null = null;
  server.once('error', (error) => {
    ended = error.message;
  });
  server.once('exit', (code, signal) => {
    ended = lastLines(paths.log) || `it ended at once (${signal ?? `exit code ${code}`})`;
  });
  server.unref();
  const deadlineMs = performance.now() + START_TIMEOUT_MS;
  while (ended === null) {
    const probe = await Probe.open(settings, paths.config);
    if (probe.ok) {
      probe.close();
      return 'up';
    }
    if (performance.now() >= deadlineMs) {
      server.kill('SIGKILL');
      return `it did not answer within ${START_TIMEOUT_MS / 1000} s (${probe.reason})`;
    }
    await sleep(POLL_MS);
  }
  return ended;
}

function lastLines(path: string): string {
  try {
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
    const telling = lines.filter(
      (line) => /#|\*\*\*|error|fail|denied|can't/i.test(line) && !/oO0OoO|WARNING/.test(line),
    );
    return telling.slice(-3).join('; ').slice(-600);
  } catch {
    return '';
  }
}

export function startFailed(paths: StatePaths, reason: string): SwarmError {
  return redisError(
    'SWARM_EMBEDDED_FAILED',
    `the embedded Redis does not start: ${reason}; see ${paths.log}, or name a Redis with --redis URL`,
  );
}
