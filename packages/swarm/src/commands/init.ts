/** `swarm init systemd|upstart|heroku|docker|kubernetes`: a file for the platform, filled in from the configuration. */
import { spawnSync } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { basename, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { LoadedConfig } from '../config.js';
import { usageError } from '../errors.js';
import type { RawFlags } from '../option-sources.js';
import { OPTION_NAMES, optionRow, shownFlag } from '../options.js';
import type { Deployment } from '../platform/deployment.js';
import { PLATFORM_FILES } from '../platform/files/index.js';

/** Of a user that `useradd` takes. */
const MAX_NAME_LENGTH = 31;

export interface InitRequest {
  platform: string;
  /** The app as it was named; undefined: it was not. */
  app: string | undefined;
  flags: RawFlags;
  appArguments: readonly string[];
  cwd: string;
  version: string;
  /** Of the service; undefined: the app's package. */
  name: string | undefined;
  user: string | undefined;
  /** To a file: this one, or the platform's own place; null: to stdout. */
  write: { path: string | undefined; force: boolean } | null;
}

export async function init(loaded: LoadedConfig, request: InitRequest): Promise<number> {
  const file = PLATFORM_FILES[request.platform];
  if (!file) throw new Error(`no such platform: ${request.platform}`);
  const deployment = deploymentOf(loaded, request);
  const text = file.text(deployment);
  if (request.write === null) {
    process.stdout.write(text);
    return 0;
  }
  const path = resolve(request.cwd, request.write.path ?? file.path(deployment.name));
  write(path, text, request.write.force, request.platform);
  process.stdout.write(`${path}\n`);
  process.stderr.write(`written; next: ${file.next(deployment.name)}\n`);
  return 0;
}

function write(path: string, text: string, force: boolean, platform: string): void {
  try {
    writeFileSync(path, text, { flag: force ? 'w' : 'wx', mode: 0o644 });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') {
      const line = platform === 'heroku' ? `, or add this line to it: ${text.trim()}` : '';
      throw usageError(
        'SWARM_FILE_EXISTS',
        `${path} is there already: --force overwrites it, --output F writes elsewhere${line}`,
        error,
      );
    }
    const cure = code === 'EACCES' ? ': run it as root, or name another file with --output F' : '';
    throw usageError('SWARM_FILE_NOT_WRITTEN', `${path} could not be written (${message})${cure}`, error);
  }
}

function deploymentOf({ config, values }: LoadedConfig, request: InitRequest): Deployment {
  const { cwd, flags, app, appArguments, version } = request;
  const name = serviceName(request.name ?? config.tag, request.name !== undefined);
  const { user, isNewUser } = userOf(request.user, cwd, name);
  const { count = null, ...others } = flags;
  return {
    name,
    directory: cwd,
    command: [process.execPath, swarmFile(cwd)],
    app: app ?? null,
    flags: flagWords(others),
    appArguments,
    count: count === null ? null : String(count),
    user,
    isNewUser,
    hidesRedis: flags.redis !== undefined && values.redis !== 'embedded',
    version,
    systemdVersion: request.platform === 'systemd' ? systemdVersion() : null,
    nodeMajor: Number.parseInt(process.versions.node, 10),
    config,
  };
}

/** As they were typed, secrets left out: other users can read a unit, and the command line of a process. */
function flagWords(flags: RawFlags): string[] {
  return OPTION_NAMES.flatMap((name) => {
    const given = flags[name];
    const row = optionRow(name);
    if (given === undefined || (row.secret && given !== 'embedded')) return [];
    if (typeof given === 'boolean') return [given ? `--${row.flag}` : `--no-${row.flag}`];
    return [given].flat().flatMap((text) => {
      return text.startsWith('-') ? [`${shownFlag(row)}=${text}`] : [shownFlag(row), text];
    });
  });
}

/** The one that belongs to the app stays with it when it is deployed anew. */
function swarmFile(cwd: string): string {
  const own = resolve(cwd, 'node_modules/bullmq-swarm/bin/swarm.js');
  return exists(own) ? own : fileURLToPath(new URL('../../bin/swarm.js', import.meta.url));
}

function serviceName(text: string, isGiven: boolean): string {
  const words = basename(text)
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+/, '');
  // of a user as well: a letter first, 31 at most
  const name = (isGiven || /^[a-z]/.test(words) ? words : `swarm-${words}`)
    .slice(0, MAX_NAME_LENGTH)
    .replace(/-+$/, '');
  if (isGiven && (name !== text || !/^[a-z]/.test(name))) {
    throw usageError(
      'SWARM_BAD_NAME',
      `--name takes 1 to ${MAX_NAME_LENGTH} small letters, digits and dashes, a letter first and no dash last, got ${JSON.stringify(text)}`,
    );
  }
  return name;
}

/** Never root: the one asked for, whoever has the app's files, or one of the service's own. */
function userOf(
  given: string | undefined,
  directory: string,
  name: string,
): { user: string; isNewUser: boolean } {
  const users = passwd();
  if (given !== undefined) {
    if (given === 'root' || !/^[a-z_][\w.-]{0,31}$/i.test(given)) {
      throw usageError(
        'SWARM_BAD_USER',
        `--user takes the name of a user other than root, got ${JSON.stringify(given)}`,
      );
    }
    return { user: given, isNewUser: users.size > 0 && ![...users.values()].includes(given) };
  }
  const current = userInfo();
  if (current.uid !== 0) return { user: current.username, isNewUser: false };
  const owner = statSync(directory).uid;
  const user = owner === 0 ? undefined : users.get(owner);
  return user === undefined
    ? { user: name, isNewUser: ![...users.values()].includes(name) }
    : { user, isNewUser: false };
}

/** Names by uid; empty where there is no such file. */
function passwd(): Map<number, string> {
  try {
    const lines = readFileSync('/etc/passwd', 'utf8').split('\n');
    return new Map(lines.map((line) => line.split(':')).map(([user = '', , uid]) => [Number(uid), user]));
  } catch {
    return new Map();
  }
}

function systemdVersion(): number | null {
  const { stdout } = spawnSync('systemctl', ['--version'], { encoding: 'utf8', timeout: 2_000 });
  const version = /^systemd (\d+)/.exec(stdout ?? '')?.[1];
  return version === undefined ? null : Number(version);
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}
