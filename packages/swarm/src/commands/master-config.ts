/**
 * `swarm config --of <master>`: what a running master has, as it published it at its start: redacted, a group's variables by
 * name alone. Where each value came from is not published, nor what came after `--`. It may be of another version of swarm: what
 * is not there is left out, and what is not understood is shown as it is.
 */
import type { Config, GroupConfig } from '../config.js';
import { usageError } from '../errors.js';
import { OPTION_NAMES, type OptionName, optionRow, shownFlag } from '../options.js';
import type { MasterRecord } from '../registry/schema.js';
import { resolveTarget } from '../registry/target.js';
import { configTable, type ShownValue, showValue } from './config.js';
import { readRegistry } from './registry-access.js';
import type { RegistryCommandOptions } from './registry-options.js';
import { jsonText, type Screen } from './screen.js';
import { safeText } from './terminal-text.js';

type Fields = Readonly<Record<string, unknown>>;

/** By which name a master has the value of an option; null: it does not keep it. */
const FIELD_OF = {
  count: 'count',
  concurrency: 'concurrency',
  nodeArgs: 'nodeArguments',
  watchdog: 'watchdog',
  maxMemory: 'maxMemoryBytes',
  maxMemoryHard: 'maxMemoryHardBytes',
  maxJobs: 'maxJobs',
  maxAge: 'maxAgeMs',
  jemalloc: 'jemalloc',
  queues: 'queues',
  prefix: 'prefix',
  redis: 'redis',
  redisTlsNoVerify: 'redisTlsNoVerify',
  namespace: 'namespace',
  timeout: 'drainTimeoutMs',
  bootTimeout: 'bootTimeoutMs',
  stuckAfter: 'stuckAfterMs',
  stuckKillAfter: 'stuckKillAfterMs',
  jobTimeout: 'jobTimeoutMs',
  jobTimeoutAction: 'jobTimeoutAction',
  dumpDetails: 'dumpDetails',
  quarantineAfter: 'quarantineAfter',
  port: 'port',
  host: 'host',
  tag: 'tag',
  labels: 'labels',
  strict: 'strict',
  logFormat: 'logFormat',
  logLevel: 'logLevel',
  config: null,
} as const satisfies Record<OptionName, keyof Config | keyof GroupConfig | null>;

const OF_A_GROUP: readonly OptionName[] = [
  'count',
  'concurrency',
  'queues',
  'maxMemory',
  'maxMemoryHard',
  'maxJobs',
  'maxAge',
];
/** There null is what `off` makes of them, not that nothing was given. */
const NULL_IS_OFF: readonly OptionName[] = ['stuckKillAfter', 'quarantineAfter'];

/** They say where the registry is. */
const REGISTRY_OPTION_NAMES = ['redis', 'redisTlsNoVerify', 'namespace', 'config', 'logLevel'] as const;

const AT_START = 'at its start';

/** Returns the exit code. Throws a `SwarmError` when the registry cannot be read, or `word` does not name one master. */
export async function masterConfig(
  word: string,
  options: RegistryCommandOptions,
  screen: Screen,
): Promise<number> {
  const { snapshot } = await readRegistry(options);
  const [target, ...others] = resolveTarget(snapshot.masters, word);
  if (!target || others.length > 0) {
    const all = snapshot.masters.map(({ identity }) => identity).join(', ');
    throw usageError('SWARM_NO_TARGET', `--of takes one master, got ${JSON.stringify(word)}: ${all}`);
  }
  const shown = describeMaster(target.master);
  const text = (): string => configTable(shown).trimEnd().split('\n').map(safeText).join('\n');
  await screen.print(options.json ? jsonText(shown) : text());
  return 0;
}

/** What is given to change the answer would not: that master has started. */
export function refuseWithMaster({ app, flags }: { app: string | undefined; flags: object }): void {
  const other = Object.keys(flags).find(
    (name) => !(REGISTRY_OPTION_NAMES as readonly string[]).includes(name),
  );
  const given = app ?? (other === undefined ? null : shownFlag(optionRow(other as OptionName)));
  if (given === null) return;
  const message = `--of shows what a running master has, whatever else is given, got ${given}; leave one of them out`;
  throw usageError('SWARM_BAD_OF', message);
}

/** Pure. The number of children is the one of now: `swarm scale` changes it. */
export function describeMaster({
  info,
  count,
}: Pick<MasterRecord, 'info' | 'count'>): Record<string, ShownValue> {
  const { config, app } = info;
  const groups = Array.isArray(config['groups']) ? config['groups'].filter(isFields) : [];
  const [only] = groups;
  const isGrouped = groups.length > 1 || (only !== undefined && only['name'] !== 'default');
  const shown: Record<string, ShownValue> = { app: { value: app === '' ? null : app, origin: AT_START } };
  for (const name of OPTION_NAMES) {
    const isOfGroup = OF_A_GROUP.includes(name);
    if (isOfGroup && isGrouped) continue;
    const value = shownOf(isOfGroup ? (only ?? {}) : config, name);
    if (value !== undefined) shown[name] = { value, origin: AT_START };
  }
  if (isGrouped)
    shown['groups'] = {
      value: Object.fromEntries(groups.map((group) => [String(group['name']), groupOf(group)])),
      origin: AT_START,
    };
  const planned = groups.reduce((sum, group) => sum + Number(group['count']), 0);
  // of several groups nobody says which was scaled
  if (count !== planned) shown['count'] = { value: count, origin: 'now' };
  return shown;
}

function groupOf(group: Fields): Record<string, unknown> {
  const values = OF_A_GROUP.flatMap((name): [string, unknown][] => {
    const value = shownOf(group, name);
    return value === undefined || value === null ? [] : [[name, value]];
  });
  const names = Array.isArray(group['env']) ? group['env'].map(String) : [];
  return { ...Object.fromEntries(values), env: Object.fromEntries(names.map((name) => [name, '***'])) };
}

/** undefined: it is not there. */
function shownOf(fields: Fields, name: OptionName): unknown {
  const field = FIELD_OF[name];
  const value = field === null ? undefined : fields[field];
  if (value === null && NULL_IS_OFF.includes(name)) return 'off';
  if (value === undefined || value === null) return value;
  try {
    return showValue(name, value);
  } catch {
    return value;
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
