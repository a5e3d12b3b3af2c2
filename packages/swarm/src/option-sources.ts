/**
 * Where an option's value is taken from: the first of flag, environment, file and default that has one.
 * All three sources hold texts (or values that print as the text somebody would type), so that each option
 * is read in one way and its errors differ only in whom they name.
 */
import type { FileContents, FileValue } from './config-file.js';
import { usageError } from './errors.js';
import type { OptionRow } from './option-row.js';
import { type OptionName, type OptionValues, optionRow, parseOption, shownFlag } from './options.js';

/** Flags as typed: one text, all texts of a repeatable one, or a switch; absent if not given. */
export type RawFlags = Partial<Record<OptionName, string | readonly string[] | boolean>>;

export interface OptionSources {
  readonly flags: RawFlags;
  readonly env: NodeJS.ProcessEnv;
  /** null: none. `within` comes before the key in messages, e.g. `groups.mail.` */
  readonly file:
    | (Pick<FileContents, 'options'> & { readonly shown: string; readonly within?: string })
    | null;
}

export interface Resolved<T> {
  readonly value: T;
  /** `flag`, `env SWARM_COUNT`, `file swarm.config.json` or `default` */
  readonly origin: string;
}

/** @throws SwarmError exit 64, naming the flag, the variable or the key of the file */
export function resolveOption<Name extends OptionName>(
  name: Name,
  { flags, env, file }: OptionSources,
): Resolved<OptionValues[Name]> {
  const row = optionRow(name);
  const read = (given: FileValue, source: string, origin: string) => ({
    value: readValue(name, given, source) as OptionValues[Name],
    origin,
  });
  const flag = flags[name];
  if (flag !== undefined) return read(flag, shownFlag(row), 'flag');
  const variable = setVariables(row, env)[0];
  if (variable !== undefined) return read(fromVariable(name, variable, env), variable, `env ${variable}`);
  const inFile = file?.options[name];
  if (file && inFile !== undefined) {
    return read(inFile, `${file.within ?? ''}${name} in ${file.shown}`, `file ${file.shown}`);
  }
  if (row.kind === 'list') return read([], '', 'default');
  if (row.fallback === null) return { value: null as OptionValues[Name], origin: 'default' };
  return read(row.fallback, '', 'default');
}

/** The option's variables that are set. An empty one is not: that is how compose files and shells unset. */
export function setVariables(row: OptionRow, env: NodeJS.ProcessEnv): string[] {
  return row.env.filter((variable) => env[variable] !== undefined && env[variable].trim() !== '');
}

function fromVariable(name: OptionName, variable: string, env: NodeJS.ProcessEnv): FileValue {
  const text = (env[variable] ?? '').trim();
  return variable.startsWith('SWARM_NO_') ? !parseOption(name, text, variable) : text;
}

function readValue(name: OptionName, given: FileValue, source: string): unknown {
  const row = optionRow(name);
  if (row.kind === 'switch' && typeof given === 'boolean') return given;
  if (row.kind === 'list') return readList(name, given, source);
  return parseOption(name, String(given), source);
}

/** A list in one text is separated by blanks: `SWARM_QUEUES='a,4 b,1'`. */
function readList(name: OptionName, given: FileValue, source: string): unknown[] {
  const texts = typeof given === 'object' ? given : String(given).trim().split(/\s+/);
  const items = texts.map((text) => parseOption(name, text, source));
  if (name === 'queues') refuseTwice(items as OptionValues['queues'], source);
  return items;
}

function refuseTwice(queues: OptionValues['queues'], source: string): void {
  const names = queues.map((queue) => queue.name);
  const twice = names.find((queue, index) => names.indexOf(queue) !== index);
  if (twice !== undefined) {
    throw usageError(
      'SWARM_BAD_QUEUE',
      `${source} takes each queue once, got ${JSON.stringify(twice)} twice`,
    );
  }
}
