/**
 * Arguments → what is asked for, with nothing done yet. yargs' own parser splits and types them; which command,
 * which options it has and what to say about the others is decided here from the two tables, because a typo
 * deserves a better answer than "unknown argument". The whole of yargs is for completion alone
 * (`completion.ts`): to load it takes as long as all else that a command loads.
 */
import parse, { type Options } from 'yargs-parser';
import { COMMAND_NAMES, type CommandName, type CommandRow, commandRow, isCommand } from './command-table.js';
import { usageError } from './errors.js';
import type { RawFlags } from './option-sources.js';
import { OPTION_NAMES, type OptionName, optionRow, shownFlag } from './options.js';
import { didYouMean, nearest } from './suggest.js';

export interface CommandLine {
  command: CommandName;
  /** The command was named, not implied. */
  named: boolean;
  help: boolean;
  version: boolean;
  flags: RawFlags;
  /** Switches of the command itself that are on, such as `json`. */
  switches: ReadonlySet<string>;
  /** Values of the command's own flags, such as `limit`. */
  values: Readonly<Record<string, string>>;
  app: string | undefined;
  /** What to add when there is no such app. */
  appHint: string;
  /** The command's own word, such as `stop` of `swarm redis stop`. */
  word: string | undefined;
  /** The free words of a command that takes some. */
  words: readonly string[];
  appArguments: string[];
}

type Parsed = Record<string, unknown> & { _: (string | number)[] };

/** Of the parser; what completes must split arguments alike. */
export const PARSER_CONFIGURATION = {
  'boolean-negation': true,
  'camel-case-expansion': false,
  'dot-notation': false,
  'greedy-arrays': false,
  'parse-numbers': false,
  'parse-positional-numbers': false,
  'populate--': true,
  'strip-aliased': true,
} as const;

/** @throws SwarmError with exit code 64 */
export function parseCommandLine(args: readonly string[]): CommandLine {
  if (args[0] === 'help') return parseCommandLine([...args.slice(1), '--help']);
  const { argv, error } = parse.detailed(joinDashed(args), parserOptions());
  if (error) throw usageError('SWARM_BAD_USAGE', error.message);
  const parsed = argv as Parsed;
  const words = parsed._.map(String);
  const named = isCommand(words[0]);
  const command = isCommand(words[0]) ? words[0] : 'run';
  const rest = named ? words.slice(1) : words;
  const hint = named ? '' : commandHint(rest[0]);
  const line: CommandLine = {
    command,
    named,
    help: parsed.help === true,
    version: parsed.version === true,
    flags: {},
    switches: new Set(Object.keys(commandRow(command).switches).filter((name) => parsed[name] === true)),
    values: ownValues(commandRow(command), parsed),
    app: rest[commandRow(command).takesApp ? 0 : commandRow(command).takes.indexOf('app?')],
    appHint: hint,
    word: commandRow(command).takesApp ? undefined : rest[0],
    words: rest,
    appArguments: ((parsed['--'] as unknown[]) ?? []).map(String),
  };
  if (line.help || line.version) return line;
  refuseUnknownOptions(parsed, command, hint);
  refuseWords(command, rest, line.appArguments, hint);
  for (const name of commandRow(command).options) {
    const given = parsed[optionRow(name).flag];
    if (given !== undefined) line.flags[name] = lastGiven(name, given);
  }
  return line;
}

function ownValues({ values }: CommandRow, parsed: Parsed): Record<string, string> {
  const given = Object.keys(values).filter((name) => parsed[name] !== undefined);
  return Object.fromEntries(given.map((name) => [name, String([parsed[name]].flat().at(-1))]));
}

/** What is not repeatable and yet given twice: the last one counts, so that a wrapper script can be overridden. */
function lastGiven(name: OptionName, given: unknown): string | string[] | boolean {
  const row = optionRow(name);
  if (given === '' || (Array.isArray(given) && (given.length === 0 || given.includes(''))))
    throw usageError(
      'SWARM_BAD_USAGE',
      `--${row.flag} takes a value${'placeholder' in row ? `: --${row.flag} ${row.placeholder}` : ''}`,
    );
  const repeatable = row.kind === 'list';
  return (Array.isArray(given) && !repeatable ? given.at(-1) : given) as string | string[] | boolean;
}

/** What the script of `swarm completion` calls to ask what may come next. */
export function isCompletionRequest(args: readonly string[]): boolean {
  return args.includes('--get-yargs-completions');
}

/** The parser's table: every flag of every command, since options may stand before the command. */
function parserOptions(): Options {
  const boolean = ['help', 'version'];
  const string: string[] = [];
  const array: string[] = [];
  const alias: Record<string, string[]> = { help: ['h'], version: ['v'] };
  for (const { flag, kind, alias: short } of OPTION_NAMES.map(optionRow)) {
    (kind === 'switch' ? boolean : string).push(flag);
    if (kind === 'list') array.push(flag);
    if (short !== undefined) alias[flag] = [short];
  }
  for (const { switches, values } of COMMAND_NAMES.map(commandRow)) {
    boolean.push(...Object.keys(switches));
    string.push(...Object.keys(values));
  }
  return { boolean, string, array, alias, configuration: PARSER_CONFIGURATION };
}

/** `--node-arg --expose-gc` → `--node-arg=--expose-gc`: to yargs, what begins with a dash is no value. */
function joinDashed(args: readonly string[]): string[] {
  const dashed = OPTION_NAMES.map(optionRow).filter((row) => row.dashed);
  const flags = new Set(dashed.map((row) => `--${row.flag}`));
  const joined: string[] = [];
  for (let index = 0; index < args.length; index++) {
    const arg = args[index] ?? '';
    if (arg === '--') return [...joined, ...args.slice(index)];
    const next = args[index + 1];
    if (flags.has(arg) && next !== undefined && next !== '--') {
      joined.push(`${arg}=${next}`);
      index++;
    } else {
      joined.push(arg);
    }
  }
  return joined;
}

function refuseUnknownOptions(parsed: Parsed, command: CommandName, hint: string): void {
  const row = commandRow(command);
  const own = new Set([
    ...row.options.map((name) => optionRow(name).flag),
    ...Object.keys(row.switches),
    ...Object.keys(row.values),
    ...['_', '$0', '--', 'help', 'version'],
  ]);
  const key = Object.keys(parsed).find((candidate) => !own.has(candidate) && parsed[candidate] !== undefined);
  if (key === undefined) return;
  const typed = key.length === 1 ? `-${key}` : parsed[key] === false ? `--no-${key}` : `--${key}`;
  const elsewhere =
    OPTION_NAMES.some((name) => optionRow(name).flag === key) ||
    COMMAND_NAMES.some((other) => {
      const { switches, values } = commandRow(other);
      return Object.hasOwn(switches, key) || Object.hasOwn(values, key);
    });
  if (elsewhere) {
    const help = hint || ` Its options: swarm ${command} --help`;
    throw usageError('SWARM_UNKNOWN_OPTION', `${typed} is not an option of swarm ${command}.${help}`);
  }
  const flags = [
    ...row.options.map((name) => shownFlag(optionRow(name))),
    ...[...Object.keys(row.switches), ...Object.keys(row.values)].map((name) => `--${name}`),
    ...['--help', '--version'],
  ];
  const suggestion = didYouMean(typed, flags) || `; see swarm ${command} --help`;
  throw usageError('SWARM_UNKNOWN_OPTION', `there is no option ${typed}${suggestion}`);
}

function refuseWords(
  command: CommandName,
  words: readonly string[],
  appArguments: readonly string[],
  hint: string,
): void {
  const row = commandRow(command);
  const [first, second] = words;
  if (row.takesApp) {
    if (second === undefined) return;
    throw usageError(
      'SWARM_BAD_USAGE',
      `swarm ${command} takes one app, got ${JSON.stringify(first)} and ${JSON.stringify(second)}: ` +
        `arguments for the app come after --.${hint}`,
    );
  }
  if (appArguments.length > 0 && !row.takesAppArguments)
    throw usageError('SWARM_BAD_USAGE', `swarm ${command} takes nothing after --`);
  if (row.takes.length > 0) {
    const required = row.takes.filter((name) => !name.endsWith('?')).length;
    if (row.words.length > 0 && !row.words.includes(first ?? '')) {
      const got = first === undefined ? 'nothing' : JSON.stringify(first) + didYouMean(first, row.words);
      throw usageError(
        'SWARM_BAD_USAGE',
        `swarm ${command} takes one of ${row.words.join(', ')}, got ${got}`,
      );
    }
    if (words.length >= required && words.length <= row.takes.length) return;
    const got = words.length === 0 ? 'nothing' : words.map((word) => JSON.stringify(word)).join(' ');
    throw usageError(
      'SWARM_BAD_USAGE',
      `swarm ${command} takes ${row.usage.replace(' [options]', '')}, got ${got}`,
    );
  }
  if (first === undefined) return;
  const extra = row.words.includes(first) ? second : first;
  if (extra === undefined) return;
  const takes = row.words.length === 0 ? 'no argument' : `one of ${row.words.join(', ')}, or nothing`;
  const got = `got ${JSON.stringify(extra)}${didYouMean(extra, extra === first ? row.words : [])}`;
  throw usageError('SWARM_BAD_USAGE', `swarm ${command} takes ${takes}, ${got}`);
}

/** A bare word in the place of the app that looks like a command. */
function commandHint(word: string | undefined): string {
  if (word === undefined || !/^[a-z]+$/i.test(word)) return '';
  const command = nearest(word, COMMAND_NAMES);
  return command === null ? ` Commands: ${COMMAND_NAMES.join(', ')}.` : ` Did you mean swarm ${command}?`;
}
