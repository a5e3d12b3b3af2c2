/**
 * `--help`, from the tables of commands and options. Not yargs' own: that has no place for what a flag takes
 * (`--count N`) nor for its variable, and shows `--no-watchdog` as `--watchdog`.
 */
import { COMMAND_NAMES, type CommandName, commandRow } from './command-table.js';
import { type OptionName, optionRow, shownFlag } from './options.js';

const WIDTH = 80;
const INDENT = 27;

/** @param command null: of swarm as a whole */
export function helpText(command: CommandName | null): string {
  const row = commandRow(command ?? 'run');
  const usage = command === null ? '[run] ' : `${command} `;
  const about =
    command === null
      ? 'Runs BullMQ workers in several processes, and keeps them alive.'
      : sentence(row.describe);
  return [
    `swarm ${usage}${row.usage}`.trimEnd(),
    '',
    ...wrap(about, 0),
    ...(command === null
      ? section(
          'Commands',
          COMMAND_NAMES.map((name) => [`swarm ${name}`, commandRow(name).describe]),
        )
      : []),
    ...optionSections(row.options),
    ...section('Other', [
      ...Object.entries(row.switches).map(([name, describe]) => [`--${name}`, describe] as const),
      ...Object.entries(row.values).map(
        ([name, [takes, describe]]) => [`--${name} ${takes}`, describe] as const,
      ),
      ['-h, --help', command === null ? 'this; also of each command' : 'this'],
      ['-v, --version', 'the version'],
    ]),
    '',
    'Examples',
    ...row.examples.flatMap(([line, does]) => exampleLines(line, does)),
    ...(row.options.length > 0 ? ['', ...wrap(PRECEDENCE, 0)] : []),
    '',
  ].join('\n');
}

const PRECEDENCE =
  'A flag overrides its variable, a variable the config file. Durations: 250ms, 25s, 2m, 1h. ' +
  '"swarm config" shows what would be in effect here, and why.';

function optionSections(names: readonly OptionName[]): string[] {
  const sections = [...new Set(names.map((name) => optionRow(name).section))];
  return sections.flatMap((title) =>
    section(
      title,
      names
        .filter((name) => optionRow(name).section === title)
        .map((name) => [flagText(name), optionText(name)]),
    ),
  );
}

function flagText(name: OptionName): string {
  const row = optionRow(name);
  const alias = row.alias === undefined ? '' : `-${row.alias}, `;
  return `${alias}${shownFlag(row)} ${row.placeholder}`.trimEnd();
}

function optionText(name: OptionName): string {
  const { kind, describe, defaultText, env } = optionRow(name);
  const shown = kind === 'switch' || defaultText === 'none' ? '' : ` (default: ${defaultText})`;
  return `${describe}${shown} [${mainVariables(env).join(', ')}]`;
}

/** The first of swarm's own, and those that platforms set; other spellings work and need no room here. */
function mainVariables(env: readonly string[]): string[] {
  return env.filter((variable, index) => index === 0 || !variable.startsWith('SWARM_'));
}

function section(title: string, rows: readonly (readonly [string, string])[]): string[] {
  return ['', title, ...rows.flatMap(([left, right]) => columns(`  ${left}`, right))];
}

/** A left part that is too wide for its column has a line of its own. */
function columns(left: string, right: string): string[] {
  const lines = wrap(right, INDENT);
  if (left.length > INDENT - 2) return [left, ...lines];
  return [left + (lines[0] ?? '').slice(left.length), ...lines.slice(1)];
}

function exampleLines(line: string, does: string): string[] {
  const both = `  ${line.padEnd(38)}  ${does}`;
  return both.length <= WIDTH ? [both] : [`  ${line}`, `      ${does}`];
}

function wrap(text: string, indent: number): string[] {
  const pad = ' '.repeat(indent);
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= WIDTH)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(pad + word);
  }
  return lines;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
