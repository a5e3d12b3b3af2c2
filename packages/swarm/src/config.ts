/**
 * The effective configuration of a master: flags, environment and file, resolved and frozen. Each option is
 * taken from the first that gives it, flag > env > file > default; what is overridden is not even read.
 * Nothing here looks at `process`: whoever calls says what the environment and the directory are.
 */
import { dirname } from 'node:path';
import { defaultApp, noAppError, packageNameOf, resolveApp } from './app-path.js';
import { dynoCount, dynoLabels, dynoOf, dynoShareBytes, withDynoLimits } from './config-dyno.js';
import { type ConfigFile, loadConfigFile } from './config-file.js';
import { fileGroups, limitsOf, resolveForGroups } from './config-groups.js';
import { usageError } from './errors.js';
import { type OptionSources, type RawFlags, type Resolved, resolveOption } from './option-sources.js';
import { MAX_COUNT, OPTION_NAMES, type OptionName, type OptionValues, optionRow } from './options.js';
import { allowedCpus } from './process/cpus.js';
import { exactDuration } from './units.js';

export type LogFormat = 'json' | 'pretty';
export type JobTimeoutAction = 'dump' | 'abort' | 'kill';
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** One queue of `--queue NAME[,WEIGHT]`. */
export interface QueueChoice {
  name: string;
  /** null: no weight was given for it. */
  weight: number | null;
}

/** Children that share a count, a concurrency and queues. Without `groups` in the config there is one, `default`. */
export interface GroupConfig {
  name: string;
  /** Children, 1 to 512. */
  count: number;
  /** Jobs at once in one child; null: the app's own (unmodified programs) or 5 (swarm apps). */
  concurrency: number | null;
  /** Empty: all of the app's. */
  queues: readonly QueueChoice[];
  /** PSS of one child, beyond which it is recycled; null: no limit. */
  maxMemoryBytes: number | null;
  /** RSS of one child, beyond which it is killed; null: no limit. */
  maxMemoryHardBytes: number | null;
  /** false: there is none, or it comes from `maxMemoryBytes`. */
  maxMemoryHardIsGiven: boolean;
  /** Jobs after which a child is recycled; null: no limit. */
  maxJobs: number | null;
  /** From ready, after which a child is recycled; null: no limit. */
  maxAgeMs: number | null;
  /** Added to the environment of the group's children. */
  env: Readonly<Record<string, string>>;
}

export interface Config {
  /** Absolute, symlinks unresolved: they are followed anew at each spawn. */
  app: string;
  appArguments: readonly string[];
  groups: readonly GroupConfig[];
  /** A URL, `embedded`, or null: none named. */
  redis: string | null;
  redisTlsNoVerify: boolean;
  /** Key prefix of a swarm app's queues. */
  prefix: string;
  namespace: string;
  /** Drain budget at stop, ms. */
  drainTimeoutMs: number;
  bootTimeoutMs: number;
  /** A main loop that is silent for so long is dumped. */
  stuckAfterMs: number;
  /** And then its child is killed; null: never. */
  stuckKillAfterMs: number | null;
  /** Nobody has chosen it: a Worker with a longer lock says that its jobs may block for as long. */
  stuckKillMindsLocks: boolean;
  /** A job that is active for so long is dumped; null: never, but for queues with a timeout of their own. */
  jobTimeoutMs: number | null;
  /** What comes after that dump. */
  jobTimeoutAction: JobTimeoutAction;
  /** Dumps hold command lines and URLs as they are, not the names of programs and hosts alone. */
  dumpDetails: boolean;
  /** Exact deaths at which a job is failed for good; null: never. */
  quarantineAfter: number | null;
  nodeArguments: readonly string[];
  /** Of `/healthz`, `/readyz` and `/metrics`; null: not served. */
  port: number | null;
  host: string;
  tag: string;
  labels: readonly string[];
  strict: boolean;
  watchdog: boolean;
  /** Children are started with the system's jemalloc. */
  jemalloc: boolean;
  logFormat: LogFormat;
  logLevel: LogLevel;
}

export interface ConfigInput {
  /** Flags, as texts: see `RawFlags`. */
  argv: RawFlags;
  env: NodeJS.ProcessEnv;
  /** Absolute. */
  cwd: string;
  /** What stands in the place of a config file, or above one that is named; none is looked for then. */
  given?: ConfigFile;
}

export interface LoadConfigInput extends ConfigInput {
  /** The app as named on the command line. */
  app?: string | undefined;
  /** Ends the message when that app is not found. */
  appHint?: string | undefined;
  /** What comes after `--`. */
  appArguments?: readonly string[];
  /** Whether stdout is a terminal. */
  isTty: boolean;
  /** CPUs allowed, read only if no count is given. */
  cpus?: () => number;
}

/** Where values came from: `flag`, `env SWARM_COUNT`, `file swarm.config.json` or `default`, by option's name. */
export type Origins = Record<string, string>;

export interface LoadedConfig {
  config: Config;
  /** By the name of the option, and `app`; `groups` if the file has them. */
  origins: Origins;
  /** Each option's value; those that have a group of their own only as far as they are common. */
  values: OptionValues;
}

/** @throws SwarmError with exit code 64 */
export async function loadConfig(input: LoadConfigInput): Promise<LoadedConfig> {
  const loaded = await loadConfigWithoutApp(input);
  if (loaded.config.app === '') throw noAppError(input.cwd);
  return loaded;
}

/** The same for who only wants to look: no app named and none found is no error, `app` is '' then. */
export async function loadConfigWithoutApp(input: LoadConfigInput): Promise<LoadedConfig> {
  const sources = await openSources(input);
  const { values, origins } = resolveAll(sources);
  const app = findApp(input, sources.file);
  origins.app = app.origin;
  values.tag ??= app.path === '' ? 'app' : packageNameOf(app.path);
  values.logFormat ??= input.isTty ? 'pretty' : 'json';
  values.labels = dynoLabels(input.env, values.labels);
  const { file } = sources;
  values.config = file?.shown ?? null;
  if (file?.groups) origins.groups = `file ${file.shown}`;
  const groups = file?.groups
    ? fileGroups(file, file.groups, sources, values)
    : [onlyGroup(values, defaultCount(values, origins, input))];
  const limited = limitOnDyno(groups, values, origins, input);
  return { config: completeConfig(values, limited, app.path, input), origins, values };
}

/** As many as CPUs are allowed; on a dyno, as many as its memory holds. */
function defaultCount(values: OptionValues, origins: Origins, { env, cpus }: LoadConfigInput): number {
  if (values.count !== null) return values.count;
  const dyno = dynoOf(env);
  const allowed = (cpus ?? allowedCpus)();
  if (dyno) origins.count = dyno.origin;
  values.count = Math.min(MAX_COUNT, dyno ? dynoCount(dyno, allowed) : allowed);
  return values.count;
}

function limitOnDyno(
  groups: GroupConfig[],
  values: OptionValues,
  origins: Origins,
  { env }: LoadConfigInput,
): GroupConfig[] {
  const dyno = dynoOf(env);
  const shareBytes =
    dyno &&
    dynoShareBytes(
      dyno,
      groups.reduce((sum, { count }) => sum + count, 0),
    );
  if (!dyno || shareBytes === null || values.maxMemory !== null || values.maxMemoryHard !== null)
    return groups;
  values.maxMemory = shareBytes;
  origins.maxMemory = dyno.origin;
  return withDynoLimits(groups, shareBytes);
}

/** The options that other commands share with `run`; for them there need be no file and no app. */
export async function loadSharedOptions<Name extends OptionName>(
  input: ConfigInput,
  names: readonly Name[],
): Promise<Pick<OptionValues, Name>> {
  const sources = await openSources(input);
  const entries = names.map((name) => [name, resolveOption(name, sources).value]);
  return Object.fromEntries(entries) as Pick<OptionValues, Name>;
}

interface ConfigSources extends OptionSources {
  readonly file: ConfigFile | null;
}

async function openSources({ argv, env, cwd, given }: ConfigInput): Promise<ConfigSources> {
  const { value: path, origin } = resolveOption('config', { flags: argv, env, file: null });
  const source = origin === 'flag' ? '--config' : origin.replace(/^env /, '');
  if (given && origin !== 'flag') return { flags: argv, env, file: given };
  const file = await loadConfigFile(path === null ? null : { path, source }, cwd, env);
  return { flags: argv, env, file: given && file ? above(given, file) : file };
}

function above(given: ConfigFile, file: ConfigFile): ConfigFile {
  const options = { ...file.options, ...given.options };
  // an app that only the file names is found from where the file is
  const path = given.app === null ? file.path : given.path;
  return { ...given, path, app: given.app ?? file.app, options, groups: given.groups ?? file.groups };
}

function resolveAll(sources: ConfigSources): { values: OptionValues; origins: Origins } {
  const values: Partial<Record<OptionName, unknown>> = {};
  const origins: Origins = {};
  for (const name of OPTION_NAMES) {
    const perGroup = sources.file?.groups && optionRow(name).group === 'own';
    const resolved: Resolved<unknown> = perGroup
      ? resolveForGroups(name, sources)
      : resolveOption(name, sources);
    values[name] = resolved.value;
    origins[name] = resolved.origin;
  }
  return { values: values as OptionValues, origins };
}

function findApp({ app, appHint, cwd, env }: LoadConfigInput, file: ConfigFile | null) {
  if (app !== undefined) return { path: resolveApp(app, cwd, appHint), origin: 'argument' };
  if (env.SWARM_APP)
    return { path: resolveApp(env.SWARM_APP, cwd, ' SWARM_APP names it.'), origin: 'env SWARM_APP' };
  if (file?.app) {
    const path = resolveApp(file.app, dirname(file.path), ` ${file.shown} names it.`);
    return { path, origin: `file ${file.shown}` };
  }
  return { path: defaultApp(cwd) ?? '', origin: 'default' };
}

function onlyGroup(values: OptionValues, count: number): GroupConfig {
  const { concurrency, queues } = values;
  return { name: 'default', count, concurrency, queues, ...limitsOf(values, ''), env: {} };
}

function completeConfig(
  values: OptionValues,
  groups: GroupConfig[],
  app: string,
  input: LoadConfigInput,
): Config {
  return deepFreeze({
    app,
    appArguments: [...(input.appArguments ?? [])],
    groups,
    redis: values.redis,
    redisTlsNoVerify: values.redisTlsNoVerify,
    prefix: values.prefix,
    namespace: values.namespace,
    drainTimeoutMs: values.timeout,
    bootTimeoutMs: values.bootTimeout,
    ...stuckLimitsOf(values),
    jobTimeoutMs: values.jobTimeout,
    jobTimeoutAction: values.jobTimeoutAction,
    dumpDetails: values.dumpDetails,
    quarantineAfter: values.quarantineAfter === 'off' ? null : values.quarantineAfter,
    nodeArguments: values.nodeArgs,
    port: values.port,
    host: values.host,
    tag: values.tag ?? 'app',
    labels: values.labels,
    strict: values.strict,
    watchdog: values.watchdog,
    jemalloc: values.jemalloc,
    logFormat: values.logFormat ?? 'json',
    logLevel: values.logLevel,
  });
}

const DEFAULT_STUCK_KILL_MS = 60_000;

/** @throws SwarmError where a child would be killed before it is dumped */
function stuckLimitsOf({
  stuckAfter,
  stuckKillAfter,
}: Pick<OptionValues, 'stuckAfter' | 'stuckKillAfter'>): Pick<
  Config,
  'stuckAfterMs' | 'stuckKillAfterMs' | 'stuckKillMindsLocks'
> {
  const killAfterMs = stuckKillAfter ?? DEFAULT_STUCK_KILL_MS;
  const stuckKillMindsLocks = stuckKillAfter === null;
  if (killAfterMs === 'off') return { stuckAfterMs: stuckAfter, stuckKillAfterMs: null, stuckKillMindsLocks };
  if (killAfterMs <= stuckAfter) {
    throw usageError(
      'SWARM_BAD_STUCK_KILL_AFTER',
      `--stuck-kill-after takes more than --stuck-after, ${exactDuration(stuckAfter)}, got ` +
        `${exactDuration(killAfterMs)}: a child is dumped before it is killed; raise it, or lower --stuck-after`,
    );
  }
  return { stuckAfterMs: stuckAfter, stuckKillAfterMs: killAfterMs, stuckKillMindsLocks };
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const inner of Object.values(value)) deepFreeze(inner);
    Object.freeze(value);
  }
  return value;
}
