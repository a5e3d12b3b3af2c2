/** `swarm quiet|resume|stop|roll|recycle|scale`: asks masters through the registry, and says what came of it. */
import { usageError } from '../errors.js';
import { parseRedisUrl } from '../redis/url.js';
import { MAX_COUNT } from '../registry/commands.js';
import { type CommandResult, Registry, type RegistryCommand } from '../registry/index.js';
import type { Target } from '../registry/target.js';
import { redisUrlOf } from './registry-access.js';
import type { RegistryCommandOptions } from './registry-options.js';
import { jsonText, type Screen, terminalScreen } from './screen.js';
import { safeText } from './terminal-text.js';

export type ControlVerb = Exclude<RegistryCommand['type'], 'dump' | 'profile' | 'heap'>;

/** Exit code 0: all of it is done; 1: something is not. Throws a `SwarmError` when it cannot even be asked for. */
export async function control(
  verb: ControlVerb,
  words: readonly string[],
  options: RegistryCommandOptions,
  screen: Screen = terminalScreen(),
): Promise<number> {
  const command = commandOf(verb, words);
  const url = await redisUrlOf(options);
  parseRedisUrl(url, '--redis');
  const { namespace, redisTlsNoVerify: tlsNoVerify, json } = options;
  const registry = new Registry({ redis: url, namespace, tlsNoVerify });
  let results: CommandResult[];
  const named = new Map<string, string>();
  try {
    results = await registry.send(command, {
      onAnswer({ state, message }, target) {
        named.set(target.master.identity, nameOf(target));
        if (!json && state === 'news') screen.note(safeText(`${nameOf(target)}: ${message}`));
      },
    });
  } finally {
    await registry.close();
  }
  if (json) await screen.print(jsonText(results));
  else await screen.print(results.map((result) => line(verb, result, named)).join('\n'));
  return results.every(({ state }) => state === 'done') ? 0 : 1;
}

function line(
  verb: ControlVerb,
  { master, state, message }: CommandResult,
  named: Map<string, string>,
): string {
  return safeText(`${named.get(master) ?? master}: ${verb} ${state}: ${message}`);
}

function commandOf(type: ControlVerb, [target = 'all', number = '']: readonly string[]): RegistryCommand {
  return type === 'scale' ? { type, target, ...readScale(number) } : { type, target };
}

/** `8`, or `mail=8` where there are groups. */
function readScale(text: string): { group: string | null; count: number } {
  const [, group = null, digits = ''] = /^(?:(.+)=)?(\d{1,4})$/.exec(text) ?? [];
  const count = Number(digits);
  if (digits !== '' && count >= 1 && count <= MAX_COUNT) return { group, count };
  throw usageError(
    'SWARM_BAD_COUNT',
    `swarm scale takes a number from 1 to ${MAX_COUNT}, or group=number, got ${JSON.stringify(text)}`,
  );
}

function nameOf({ master, child }: Target): string {
  return child ? `${master.host} slot ${child.slot} pid ${child.pid}` : `${master.host} pid ${master.pid}`;
}
