/**
 * The process that runs a config file; see `config-file.ts`. Arguments: the file, and its name for messages.
 * Sends one `ReaderAnswer` and ends.
 */
import { readFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { z } from 'zod/mini';
import type { FileContents, FileGroup, FileValue, ReaderAnswer } from './config-file.js';
import { SwarmError, usageError } from './errors.js';
import { badOption, fileKeys, OPTION_NAMES, type OptionName, optionRow, parseOption } from './options.js';
import { didYouMean } from './suggest.js';

const GROUP_NAME = /^[A-Za-z0-9][\w.-]{0,63}$/;
const GROUP_OPTIONS = OPTION_NAMES.filter((name) => optionRow(name).group !== undefined);

/** Which option a key of the file stands for. */
const optionOfKey = new Map(
  OPTION_NAMES.flatMap((name) => fileKeys(name).map((key) => [key, name] as const)),
);

const groupSchema = z.strictObject({
  ...optionShape(GROUP_OPTIONS),
  env: z.optional(z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]))),
});
const fileSchema = z.strictObject({
  ...optionShape(OPTION_NAMES),
  app: z.optional(z.string().check(z.minLength(1))),
  groups: z.optional(z.record(z.string().check(z.regex(GROUP_NAME)), groupSchema)),
});

function optionShape(names: readonly OptionName[]) {
  const shape: Record<string, z.ZodMiniType<FileValue | undefined>> = {};
  for (const name of names) {
    for (const key of fileKeys(name)) shape[key] = z.optional(optionType(name));
  }
  return shape;
}

function optionType(name: OptionName): z.ZodMiniType<FileValue> {
  const { kind } = optionRow(name);
  if (kind === 'switch') return z.union([z.boolean(), z.string()]);
  if (kind === 'list') return z.union([z.string(), z.array(z.string())]);
  return z.union([z.string(), z.number()]);
}

async function evaluate(path: string): Promise<unknown> {
  if (path.endsWith('.json')) return parseJson(await readFile(path, 'utf8'));
  const loaded: Record<string, unknown> = await import(pathToFileURL(path).href);
  let exported = loaded.default;
  // A module that was compiled to CommonJS has its default export one level down.
  if (isObject(exported) && exported.__esModule && 'default' in exported) exported = exported.default;
  return typeof exported === 'function' ? exported() : exported;
}

/** V8 quotes the text around a mistake, and a password may be in it. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const { message } = error as SyntaxError;
    const told = message.replace(/, (?:\.\.\.)?".*" is not valid JSON$/s, ': this is not valid JSON');
    throw new SyntaxError(told, { cause: error });
  }
}

function parseContents(raw: unknown, shown: string): FileContents {
  if (!isObject(raw)) {
    const got = raw === undefined ? 'nothing' : inWords(raw);
    const how = shown.endsWith('.json') ? 'holds' : 'has as its default export';
    throw bad(shown, `${how} ${got}, and it takes an object, or a function or a promise that gives one`);
  }
  const parsed = fileSchema.safeParse(raw);
  if (!parsed.success) throw issueError(parsed.error.issues[0] as z.core.$ZodIssue, raw, shown);
  const { app, groups, ...options } = parsed.data;
  return {
    app: app ?? null,
    options: optionsOf(options as Record<string, FileValue>, '', shown),
    groups: groups ? groupsOf(groups, shown) : null,
  };
}

function groupsOf(
  groups: z.infer<typeof fileSchema>['groups'] & object,
  shown: string,
): Record<string, FileGroup> {
  const entries = Object.entries(groups).map(([group, { env = {}, ...options }]) => [
    group,
    {
      options: optionsOf(options as Record<string, FileValue>, `groups.${group}.`, shown),
      env: Object.fromEntries(Object.entries(env).map(([name, value]) => [name, String(value)])),
    },
  ]);
  if (entries.length === 0)
    throw bad(shown, 'has groups without a group in it: add one, or leave groups out');
  return Object.fromEntries(entries);
}

/** Keys → options; both spellings of one option are an error, and `noWatchdog: true` is `watchdog: false`. */
function optionsOf(
  values: Record<string, FileValue>,
  within: string,
  shown: string,
): FileContents['options'] {
  const options: Partial<Record<OptionName, FileValue>> = {};
  for (const [key, value] of Object.entries(values)) {
    const name = optionOfKey.get(key);
    if (name === undefined || value === undefined) continue;
    if (options[name] !== undefined)
      throw bad(shown, `has both ${within}${name} and ${within}${key}: keep one`);
    const opposite = key !== name && optionRow(name).negated;
    options[name] = opposite ? !parseOption(name, String(value), `${within}${key} in ${shown}`) : value;
  }
  return options;
}

function issueError(issue: z.core.$ZodIssue, raw: unknown, shown: string): Error {
  const path = issue.path.map(String);
  const at = path.join('.');
  const inGroup = path[0] === 'groups' && path.length >= 2;
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0] ?? '';
    const known = Object.keys(inGroup ? groupSchema.shape : fileSchema.shape);
    const within = at === '' ? '' : ` in ${at}`;
    return bad(shown, `has an unknown key ${JSON.stringify(key)}${within}${didYouMean(key, known)}`);
  }
  if (issue.code === 'invalid_key') {
    return bad(
      shown,
      `has a group ${JSON.stringify(path.at(-1))}: names are 1 to 64 letters, digits and . _ -`,
    );
  }
  const got = path.reduce<unknown>((value, key) => (isObject(value) ? value[key] : undefined), raw);
  const option = path.length === (inGroup ? 3 : 1) ? optionOfKey.get(path.at(-1) ?? '') : undefined;
  if (option !== undefined) return badOption(option, got, `${at} in ${shown}`);
  return bad(
    shown,
    `has a value of ${at} that it cannot use: it takes ${expectedAt(path)}, got ${inWords(got)}`,
  );
}

/** What belongs where there is no option: `app`, `groups`, `groups.x`, `groups.x.env`, `groups.x.env.Y`. */
function expectedAt(path: readonly string[]): string {
  if (path[0] === 'app') return 'the path of a file';
  const what = ['an object of groups by name', 'an object', 'an object of texts by name', 'a text'];
  return what[path.length - 1] ?? 'something else';
}

/** Of what may hold anything, variables and URLs too, no more than its kind. */
function inWords(value: unknown): string {
  if (Array.isArray(value)) return 'an array';
  if (value === null || typeof value === 'number' || typeof value === 'boolean') return String(value);
  return value !== undefined && typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function bad(shown: string, message: string): SwarmError {
  return usageError('SWARM_BAD_CONFIG', `${shown} ${message}`);
}

/** An error of the file's own: its message, and the line of the file if the stack has one. */
function refusal(error: unknown, path: string, shown: string): ReaderAnswer {
  const message = error instanceof Error ? error.message : String(error);
  const stack = (error instanceof Error && error.stack) || message;
  if (error instanceof SwarmError) return { type: 'refused', code: error.code, message, stack };
  const line = stack.split(path)[1]?.match(/^:(\d+)/)?.[1];
  const at = line === undefined ? shown : `${shown}:${line}`;
  // V8 keeps the place of a syntax error in a module to itself.
  const unplaced = error instanceof SyntaxError && line === undefined && /\.[mc]?js$/.test(path);
  const cure = unplaced ? ` (node --check ${shown} shows where)` : '';
  return { type: 'refused', code: 'SWARM_CONFIG_FAILED', message: `${at}: ${message}${cure}`, stack };
}

async function main(path: string, shown: string): Promise<ReaderAnswer> {
  try {
    return { type: 'contents', contents: parseContents(await evaluate(path), shown) };
  } catch (error) {
    return refusal(error, path, shown);
  }
}

const [path = '', shown = ''] = process.argv.slice(2);
const answer = await main(path, shown);
process.send?.(answer, () => process.exit(0));
