/** Options of `new Swarm()`: those of a config file, given in code. */
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Config, loadConfig } from './config.js';
import type { ConfigFile, FileGroup, FileValue } from './config-file.js';
import { usageError } from './errors.js';
import { badOption, OPTION_NAMES, type OPTIONS, type OptionName, optionRow } from './options.js';
import { didYouMean } from './suggest.js';

type Given<Row> = Row extends { kind: 'list' }
  ? string | readonly string[]
  : Row extends { kind: 'switch' }
    ? boolean
    : string | number;
/** Numbers as such; durations and sizes as texts with a unit, `'25s'`, `'400MB'`. */
type GivenOptions<Names extends OptionName> = { [Name in Names]?: Given<(typeof OPTIONS)[Name]> | undefined };

/** Where the log goes is the program's to decide. */
type Elsewhere = 'config' | 'logFormat';
type GroupOption = 'count' | 'concurrency' | 'queues' | 'maxMemory' | 'maxMemoryHard' | 'maxJobs' | 'maxAge';

export interface SwarmGroup extends GivenOptions<GroupOption> {
  count: number;
  env?: Readonly<Record<string, string>> | undefined;
}

export interface SwarmOptions extends GivenOptions<Exclude<OptionName, Elsewhere>> {
  /** The file that each child runs; default: `SWARM_APP`, or the first `worker.{js,mjs,cjs,ts,mts}` of `cwd`. */
  app?: string | URL | undefined;
  /** For the app. */
  appArguments?: readonly string[] | undefined;
  groups?: Readonly<Record<string, SwarmGroup>> | undefined;
  /** A config file; what is given in code stands above it. Default: none, not even one that is there. */
  config?: string | undefined;
  /** Default: that of the process. */
  cwd?: string | undefined;
  /** Variables that are read, such as `REDIS_URL`; default: those of the process. */
  env?: NodeJS.ProcessEnv | undefined;
}

const SHOWN = 'new Swarm()';
const OWN_KEYS = ['app', 'appArguments', 'groups', 'config', 'cwd', 'env'];
const GROUP_OPTIONS = OPTION_NAMES.filter((name) => optionRow(name).group !== undefined);

/** @throws SwarmError with exit code 64 */
export async function loadSwarmConfig(options: SwarmOptions): Promise<Config> {
  const { app, appArguments = [], groups, config, cwd = process.cwd(), env = process.env, ...rest } = options;
  const given = optionsOf(rest, OPTION_NAMES, OWN_KEYS, '');
  const file: ConfigFile = {
    path: join(cwd, 'swarm'),
    shown: SHOWN,
    app: app === undefined ? null : pathOf(app, cwd),
    options: given,
    groups: groups === undefined ? null : groupsOf(groups),
  };
  const overridden = [...Object.keys(given), ...(groups === undefined ? [] : GROUP_OPTIONS)] as OptionName[];
  const variables = new Set(overridden.flatMap((name) => optionRow(name).env));
  if (app !== undefined) variables.add('SWARM_APP');
  const read = Object.fromEntries(Object.entries(env).filter(([name]) => !variables.has(name)));
  const flags = config === undefined ? {} : { config };
  const loaded = await loadConfig({ argv: flags, env: read, cwd, appArguments, isTty: false, given: file });
  return loaded.config;
}

function pathOf(app: string | URL, cwd: string): string {
  const isUrl = typeof app !== 'string' || app.startsWith('file:');
  return isUrl ? fileURLToPath(app) : resolve(cwd, app);
}

function groupsOf(groups: Readonly<Record<string, SwarmGroup>>): Record<string, FileGroup> {
  const entries = Object.entries(groups).map(([name, { env = {}, ...options }]): [string, FileGroup] => {
    if (!/^[A-Za-z0-9][\w.-]{0,63}$/.test(name))
      throw bad(`has a group ${JSON.stringify(name)}: names are 1 to 64 letters, digits and . _ -`);
    return [name, { options: optionsOf(options, GROUP_OPTIONS, ['env'], `groups.${name}.`), env }];
  });
  if (entries.length === 0) throw bad('has groups without a group in it: add one, or leave groups out');
  return Object.fromEntries(entries);
}

/** Programs without types get here what others get from their compiler. */
function optionsOf(
  values: Readonly<Record<string, unknown>>,
  names: readonly OptionName[],
  others: readonly string[],
  within: string,
): Partial<Record<OptionName, FileValue>> {
  const options: Partial<Record<OptionName, FileValue>> = {};
  for (const [key, value] of Object.entries(values)) {
    if (value === undefined) continue;
    const name = names.find((candidate) => candidate === key);
    if (name === undefined)
      throw bad(
        `has an unknown key ${JSON.stringify(within + key)}${didYouMean(key, [...names, ...others])}`,
      );
    if (!fits(name, value)) throw badOption(name, value, `${within}${key} in ${SHOWN}`);
    options[name] = value;
  }
  return options;
}

function fits(name: OptionName, value: unknown): value is FileValue {
  const { kind } = optionRow(name);
  if (kind === 'switch') return typeof value === 'boolean';
  if (kind === 'list' && Array.isArray(value)) return value.every((item) => typeof item === 'string');
  return typeof value === 'string' || (kind === 'value' && typeof value === 'number');
}

function bad(message: string): Error {
  return usageError('SWARM_BAD_CONFIG', `${SHOWN} ${message}`);
}
