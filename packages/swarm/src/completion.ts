/** Shell completion: yargs knows how shells ask, the two tables know the answers. */
import yargs, { type Argv, type Options } from 'yargs';
import { PARSER_CONFIGURATION } from './command-line.js';
import { COMMAND_NAMES, type CommandRow, commandRow } from './command-table.js';
import { usageError } from './errors.js';
import type { OptionRow } from './option-row.js';
import { OPTION_NAMES, type OptionName, optionRow } from './options.js';

/** yargs prints the answer itself, one word a line. */
export async function printCompletions(args: readonly string[]): Promise<void> {
  await parser(args).parseAsync();
}

export function printCompletionScript(): void {
  parser([]).showCompletionScript();
}

function parser(args: readonly string[]): Argv {
  const instance = yargs([...args])
    .scriptName('swarm')
    .detectLocale(false)
    .exitProcess(false)
    .help(false)
    .version(false)
    .fail((message, error) => {
      throw error ?? usageError('SWARM_BAD_USAGE', message);
    })
    .parserConfiguration(PARSER_CONFIGURATION)
    .options(yargsOptions(OPTION_NAMES, false))
    .options({
      help: { alias: 'h', boolean: true, describe: 'show help' },
      version: { alias: 'v', boolean: true, describe: 'show the version' },
    });
  for (const command of COMMAND_NAMES) {
    const { describe, options, switches, values, words } = commandRow(command);
    const word = words.length > 0 ? ' [word]' : '';
    instance.options(yargsSwitches(switches, false)).options(yargsValues(values, false));
    instance.command(command + word, describe, (inner: Argv) => {
      if (word !== '') inner.positional('word', { choices: words });
      return inner
        .options(yargsOptions(options, true))
        .options(yargsSwitches(switches, true))
        .options(yargsValues(values, true));
    });
  }
  return instance;
}

/** All are known at the top, where options may stand before the command, but not global: a command has its own. */
function yargsOptions(names: readonly OptionName[], global: boolean): Record<string, Options> {
  return Object.fromEntries(
    names.map((name) => [optionRow(name).flag, yargsOption(optionRow(name), global)]),
  );
}

function yargsOption(row: OptionRow, global: boolean): Options {
  const option: Options = { describe: row.describe, global };
  if (row.alias !== undefined) option.alias = row.alias;
  if (row.kind === 'switch') option.boolean = true;
  else option.string = true;
  if (row.kind === 'list') option.array = true;
  return option;
}

function yargsSwitches(switches: CommandRow['switches'], global: boolean): Record<string, Options> {
  return Object.fromEntries(
    Object.entries(switches).map(([name, describe]) => [name, { boolean: true, describe, global }]),
  );
}

function yargsValues(values: CommandRow['values'], global: boolean): Record<string, Options> {
  return Object.fromEntries(
    Object.entries(values).map(([name, [, describe]]) => [name, { string: true, describe, global }]),
  );
}
