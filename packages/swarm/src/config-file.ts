/**
 * `swarm.config.*`: finds the file and has it read.
 *
 * The file is a program of the user's, so a process of its own runs it (`config-reader.js`), which answers
 * with plain, validated data and is gone. The master loads no user code, and neither zod nor a TypeScript
 * loader (tsx: 40 MB and a process of esbuild's that stays) weighs on it for the rest of its life. What the
 * file prints goes to stderr, so that `--json` on stdout stays one document.
 */
import { fork } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, join, relative, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { type SwarmError, usageError } from './errors.js';
import type { OptionName } from './options.js';

export const CONFIG_FILE_NAMES = ['ts', 'mts', 'js', 'mjs', 'cjs', 'json'].map(
  (ext) => `swarm.config.${ext}`,
);

const READ_TIMEOUT_MS = 30_000;

/** A value as a config file gives it: numbers and switches may be written as such, or as text. */
export type FileValue = string | number | boolean | readonly string[];

export interface FileGroup {
  readonly options: Partial<Record<OptionName, FileValue>>;
  readonly env: Readonly<Record<string, string>>;
}

/** A config file's content: keys are known, and of the right type; values are not yet read. */
export interface FileContents {
  readonly app: string | null;
  readonly options: Partial<Record<OptionName, FileValue>>;
  /** null: the file has none. */
  readonly groups: Readonly<Record<string, FileGroup>> | null;
}

export interface ConfigFile extends FileContents {
  /** Absolute. */
  readonly path: string;
  /** As messages name it: relative to where swarm was started, if it is below. */
  readonly shown: string;
}

/** What the reader sends, once. */
export type ReaderAnswer =
  | { type: 'contents'; contents: FileContents }
  | { type: 'refused'; code: string; message: string; stack: string };

/** The first `swarm.config.*` of a directory, or null. */
export function findConfigFile(cwd: string): string | null {
  return CONFIG_FILE_NAMES.map((name) => join(cwd, name)).find((path) => existsSync(path)) ?? null;
}

/**
 * @param named path of `--config` or `SWARM_CONFIG`, null: look in `cwd`
 * @returns null if no file was named and there is none
 */
export async function loadConfigFile(
  named: { path: string; source: string } | null,
  cwd: string,
  env: NodeJS.ProcessEnv,
): Promise<ConfigFile | null> {
  const path = named ? resolve(cwd, named.path) : findConfigFile(cwd);
  if (path === null) return null;
  const shown = showPath(path, cwd);
  if (!statSync(path, { throwIfNoEntry: false })?.isFile()) {
    const source = named?.source ?? 'the configuration';
    throw usageError('SWARM_CONFIG_NOT_FOUND', `${source} names ${shown}, where there is no file`);
  }
  return { path, shown, ...(await runReader(path, shown, cwd, env)) };
}

function showPath(path: string, cwd: string): string {
  const below = relative(cwd, path);
  return below.startsWith('..') ? path : below;
}

function runReader(path: string, shown: string, cwd: string, env: NodeJS.ProcessEnv): Promise<FileContents> {
  const reader = fork(fileURLToPath(new URL('./config-reader.js', import.meta.url)), [path, shown], {
    cwd,
    env,
    execArgv: loaderArguments(path, shown),
    stdio: ['ignore', 2, 2, 'ipc'],
  });
  return new Promise((fulfil, reject) => {
    const timer = setTimeout(() => {
      reader.kill('SIGKILL');
      reject(failed(`${shown} gave no configuration within ${READ_TIMEOUT_MS / 1000} s`));
    }, READ_TIMEOUT_MS);
    reader.on('message', (answer: ReaderAnswer) => {
      if (answer.type === 'contents') fulfil(answer.contents);
      else reject(refused(answer));
    });
    reader.on('error', (error) => reject(failed(`${shown} could not be read: ${error.message}`, error)));
    reader.on('exit', (code, signal) => {
      clearTimeout(timer);
      const how = signal ?? `exit code ${code}`;
      const ended = () =>
        reject(failed(`${shown} ended its process (${how}) before it gave a configuration`));
      // An answer can still be on its way; the channel's end comes after it, and then this does nothing.
      if (reader.connected) reader.once('disconnect', ended);
      else ended();
    });
  });
}

function failed(message: string, cause?: unknown): SwarmError {
  return usageError('SWARM_CONFIG_FAILED', message, cause);
}

function refused(answer: ReaderAnswer & { type: 'refused' }): SwarmError {
  const cause = new Error(answer.message);
  cause.stack = answer.stack;
  return usageError(answer.code, answer.message, cause);
}

/** What makes this node run the file: nothing, or the app's own tsx for TypeScript on a node without it. */
function loaderArguments(path: string, shown: string): string[] {
  const native = (process.features as { typescript?: unknown }).typescript;
  if (!/\.m?ts$/.test(path) || native) return [];
  try {
    return ['--import', pathToFileURL(createRequire(path).resolve('tsx')).href];
  } catch (cause) {
    const instead = basename(path).replace(/\.m?ts$/, '.mjs');
    throw usageError(
      'SWARM_CONFIG_TYPESCRIPT',
      `${shown} is TypeScript, which Node ${process.versions.node} does not run: ` +
        `npm install -D tsx, or use Node 22.18 or newer, or write ${instead}`,
      cause,
    );
  }
}
