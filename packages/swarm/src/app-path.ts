/**
 * From what a user calls the app to the file that a child loads. Symlinks are never resolved here: a
 * deploy moves a `current` symlink, and the next spawn has to follow it.
 */
import { readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { usageError } from './errors.js';

const EXTENSIONS = ['.js', '.mjs', '.cjs', '.ts', '.mts'] as const;
const DEFAULT_APPS = ['worker.js', 'worker.mjs', 'worker.cjs', 'worker.ts', 'worker.mts'] as const;

/**
 * @param hint ends the message when nothing is found, e.g. ` Did you mean "swarm ps"?`
 * @returns an absolute path, symlinks unresolved
 */
export function resolveApp(app: string, cwd: string, hint = ''): string {
  const given = resolve(cwd, app);
  if (kindOf(given) === 'directory') return resolveDirectory(app, given);
  const candidates = [given, ...EXTENSIONS.map((extension) => given + extension)];
  const found = candidates.find((path) => kindOf(path) === 'file');
  if (found !== undefined) return found;
  throw usageError(
    'SWARM_APP_NOT_FOUND',
    `there is no app ${JSON.stringify(app)}: looked for ${given}, also with ${EXTENSIONS.join(', ')}.${hint}`,
  );
}

/** The app of somebody who named none: the first `worker.*` of `cwd`, or null. */
export function defaultApp(cwd: string): string | null {
  return DEFAULT_APPS.map((name) => join(cwd, name)).find((path) => kindOf(path) === 'file') ?? null;
}

export function noAppError(cwd: string): Error {
  return usageError(
    'SWARM_APP_NOT_FOUND',
    `no app was named, and ${cwd} has none of ${DEFAULT_APPS.join(', ')}: ` +
      'run "swarm <file>", or set SWARM_APP, or "app" in swarm.config.*',
  );
}

/** Name in the nearest package.json above the app that has one, or `app`. */
export function packageNameOf(appPath: string): string {
  for (let directory = dirname(appPath); ; directory = dirname(directory)) {
    const name = readPackage(directory)?.name;
    if (typeof name === 'string' && name !== '') return name;
    if (directory === dirname(directory)) return 'app';
  }
}

/**
 * The working directory as the shell shows it. `process.cwd()` has its symlinks resolved by the kernel, so
 * a master started in `/srv/current` would stay with the release that this pointed to.
 */
export function logicalCwd(physicalCwd: string, env: NodeJS.ProcessEnv): string {
  const shown = env.PWD;
  if (shown === undefined || shown !== resolve(shown)) return physicalCwd;
  try {
    const [a, b] = [statSync(shown), statSync(physicalCwd)];
    return a.dev === b.dev && a.ino === b.ino ? shown : physicalCwd;
  } catch {
    return physicalCwd;
  }
}

function resolveDirectory(app: string, directory: string): string {
  const main = readPackage(directory)?.main;
  const names = [
    ...(typeof main === 'string' && main !== ''
      ? [main, ...EXTENSIONS.map((extension) => main + extension)]
      : []),
    ...EXTENSIONS.map((extension) => `index${extension}`),
  ];
  const found = names.map((name) => join(directory, name)).find((path) => kindOf(path) === 'file');
  if (found !== undefined) return found;
  throw usageError(
    'SWARM_APP_NOT_FOUND',
    `the app ${JSON.stringify(app)} is a directory in which there is none of ${names.join(', ')}: ` +
      'name a file, or set "main" in its package.json',
  );
}

function readPackage(directory: string): { name?: unknown; main?: unknown } | null {
  try {
    const parsed: unknown = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
    return typeof parsed === 'object' ? parsed : null;
  } catch {
    return null;
  }
}

function kindOf(path: string): 'file' | 'directory' | null {
  try {
    const stats = statSync(path);
    if (stats.isFile()) return 'file';
    return stats.isDirectory() ? 'directory' : null;
  } catch {
    return null;
  }
}
