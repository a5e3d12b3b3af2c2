import type { GroupConfig, LoadedConfig } from '../config.js';
import { OPTION_NAMES, type OptionName, optionRow } from '../options.js';
import { redactUrl } from '../redis/url.js';

/** A value as a config file takes it, and where it is from; null: it has none. */
export interface ShownValue {
  value: unknown;
  /** `flag`, `argument`, `env NAME`, `file PATH` or `default`; of a running master `at its start` or `now` */
  origin: string;
}

/** `swarm config`: what a master started here, with these flags and variables, would have; without secrets. */
export async function config(loaded: LoadedConfig, json: boolean): Promise<number> {
  const shown = describeConfig(loaded);
  process.stdout.write(json ? `${JSON.stringify(shown, null, 2)}\n` : configTable(shown));
  return 0;
}

export function describeConfig({ config, origins, values }: LoadedConfig): Record<string, ShownValue> {
  const shown: Record<string, ShownValue> = {
    app: { value: config.app === '' ? null : config.app, origin: origins.app ?? 'default' },
  };
  if (config.appArguments.length > 0) shown.appArguments = { value: config.appArguments, origin: 'argument' };
  for (const name of OPTION_NAMES) {
    // With groups, a common count or list of queues says nothing about any of them.
    if (origins.groups !== undefined && optionRow(name).group === 'own') continue;
    shown[name] = { value: showValue(name, values[name]), origin: origins[name] ?? 'default' };
  }
  if (origins.groups !== undefined)
    shown.groups = { value: showGroups(config.groups), origin: origins.groups };
  return shown;
}

function showGroups(groups: LoadedConfig['config']['groups']): Record<string, unknown> {
  const entries = groups.map(({ name, count, concurrency, queues, env, ...limits }) => {
    // A group's variables are the likeliest place of a password: names only.
    const envNames = Object.fromEntries(Object.keys(env).map((variable) => [variable, '***']));
    const shown = {
      count,
      concurrency,
      queues: showValue('queues', queues),
      ...showLimits(limits),
      env: envNames,
    };
    return [name, shown];
  });
  return Object.fromEntries(entries);
}

/** Those that are set. */
function showLimits(
  limits: Pick<GroupConfig, 'maxMemoryBytes' | 'maxMemoryHardBytes' | 'maxJobs' | 'maxAgeMs'>,
): Record<string, unknown> {
  const values = [
    ['maxMemory', limits.maxMemoryBytes],
    ['maxMemoryHard', limits.maxMemoryHardBytes],
    ['maxJobs', limits.maxJobs],
    ['maxAge', limits.maxAgeMs],
  ] as const;
  const set = values.filter(([, value]) => value !== null);
  return Object.fromEntries(set.map(([name, value]) => [name, showValue(name, value)]));
}

export function showValue(name: OptionName, value: unknown): unknown {
  const { kind, secret, show } = optionRow(name);
  // Safe: `value` comes from this row's own `read`.
  const text = (item: unknown) => (show ? (show as (value: unknown) => string)(item) : item);
  if (value === null) return null;
  if (kind === 'list') return (value as unknown[]).map(text);
  return secret ? redactUrl(String(value)) : text(value);
}

const WIDTH = 80;

type TableRow = readonly [name: string, text: string, origin: string];

export function configTable(shown: Record<string, ShownValue>): string {
  const rows = Object.entries(shown).flatMap(([name, { value, origin }]): TableRow[] => {
    if (name !== 'groups') return [[name, inline(name, value), origin]];
    const groups = Object.entries(value as Record<string, Record<string, unknown>>);
    return groups.flatMap(([group, its]) =>
      Object.entries(its).map(([key, own]) => [`groups.${group}.${key}`, inline(key, own), origin] as const),
    );
  });
  const nameWidth = Math.max(...rows.map(([name]) => name.length)) + 2;
  const originWidth = Math.max(...rows.map(([, , origin]) => origin.length));
  const textWidth = WIDTH - nameWidth - originWidth;
  return rows.map((row) => tableLine(row, nameWidth, textWidth)).join('');
}

/** A text too long for its column has its origin on a line of its own. */
function tableLine([name, text, origin]: TableRow, nameWidth: number, textWidth: number): string {
  const left = name.padEnd(nameWidth);
  if (text.length + 2 <= textWidth) return `${left}${text.padEnd(textWidth)}${origin}\n`;
  return `${left}${text}\n${' '.repeat(nameWidth + Math.max(0, textWidth))}${origin}\n`;
}

function inline(name: string, value: unknown): string {
  if (value === null) return name === 'app' || name === 'config' ? '(none found)' : `(${fallbackText(name)})`;
  if (Array.isArray(value)) return value.length === 0 ? `(${fallbackText(name)})` : value.join(' ');
  return typeof value === 'object' ? Object.keys(value).join(' ') || '(none)' : String(value);
}

function fallbackText(name: string): string {
  return OPTION_NAMES.includes(name as OptionName) ? optionRow(name as OptionName).defaultText : 'none';
}
