/**
 * `groups` of a config file. What every group must say for itself (its count, its queues) cannot come from
 * a flag or variable; what they can share (concurrency) can, and stands above the file as always. What the
 * file itself says outside of its groups is the default of those that say nothing.
 */
import type { GroupConfig } from './config.js';
import type { ConfigFile, FileGroup } from './config-file.js';
import { usageError } from './errors.js';
import { type OptionSources, type Resolved, resolveOption, setVariables } from './option-sources.js';
import { MAX_COUNT, type OptionName, type OptionValues, optionRow, shownFlag } from './options.js';
import { exactSize } from './units.js';

/**
 * The common value of a group's own option. `COUNT` and the like are ignored with groups, because platforms
 * set them; who sets swarm's own variable, or a flag, means it, and is told.
 */
export function resolveForGroups(name: OptionName, { flags, env, file }: OptionSources): Resolved<unknown> {
  const row = optionRow(name);
  const variable = setVariables(row, env).find((candidate) => candidate.startsWith('SWARM_'));
  const given = flags[name] !== undefined ? shownFlag(row) : variable;
  if (given !== undefined) {
    throw usageError(
      `SWARM_BAD_${row.flag.toUpperCase()}`,
      `${given} cannot be used with the groups of ${file?.shown}, each has its own: ` +
        `set groups.<name>.${name} there, or leave groups out`,
    );
  }
  return resolveOption(name, { flags: {}, env: {}, file });
}

/** @param common what groups take that say nothing themselves */
export function fileGroups(
  { shown }: ConfigFile,
  groups: Readonly<Record<string, FileGroup>>,
  { flags, env }: OptionSources,
  common: OptionValues,
): GroupConfig[] {
  const read = <Name extends OptionName>(option: Name, group: string): OptionValues[Name] => {
    const file = { options: groups[group]?.options ?? {}, shown, within: `groups.${group}.` };
    const above = optionRow(option).group === 'shared' ? { flags, env } : { flags: {}, env: {} };
    const resolved = resolveOption(option, { ...above, file });
    return resolved.origin === 'default' ? common[option] : resolved.value;
  };
  const configs = Object.entries(groups).map(([name, { env: groupEnv }]): GroupConfig => {
    const count = read('count', name);
    if (count === null)
      throw badCount(`groups.${name} in ${shown} needs a count, from 1 to ${MAX_COUNT}: it has none`);
    const limits = {
      maxMemory: read('maxMemory', name),
      maxMemoryHard: read('maxMemoryHard', name),
      maxJobs: read('maxJobs', name),
      maxAge: read('maxAge', name),
    };
    return {
      name,
      count,
      concurrency: read('concurrency', name),
      queues: read('queues', name),
      ...limitsOf(limits, ` (groups.${name} in ${shown})`),
      env: groupEnv,
    };
  });
  const total = configs.reduce((sum, group) => sum + group.count, 0);
  if (total > MAX_COUNT)
    throw badCount(`the counts of groups in ${shown} add up to at most ${MAX_COUNT}, got ${total}`);
  return configs;
}

/** What the hard limit is where only the soft one is given. */
const HARD_FACTOR = 1.5;

type GroupLimits = Pick<
  GroupConfig,
  'maxMemoryBytes' | 'maxMemoryHardBytes' | 'maxMemoryHardIsGiven' | 'maxJobs' | 'maxAgeMs'
>;

/**
 * @param where ends the message
 * @throws SwarmError where the hard limit would be met before the soft one
 */
export function limitsOf(
  values: Pick<OptionValues, 'maxMemory' | 'maxMemoryHard' | 'maxJobs' | 'maxAge'>,
  where: string,
): GroupLimits {
  const { maxMemory: soft, maxMemoryHard: hard, maxJobs, maxAge: maxAgeMs } = values;
  if (soft !== null && hard !== null && hard < soft) {
    throw usageError(
      'SWARM_BAD_MAX_MEMORY_HARD',
      `--max-memory-hard takes at least what --max-memory is, ${exactSize(soft)}, got ${exactSize(hard)}${where}: ` +
        'children would be killed before they could drain; raise it, or leave it out for 1.5 × --max-memory',
    );
  }
  return {
    maxMemoryBytes: soft,
    maxMemoryHardBytes: hard ?? (soft === null ? null : Math.round(HARD_FACTOR * soft)),
    maxMemoryHardIsGiven: hard !== null,
    maxJobs,
    maxAgeMs,
  };
}

function badCount(message: string): Error {
  return usageError('SWARM_BAD_COUNT', message);
}
