/** `swarm quiet|resume|stop|roll|recycle|scale`: asks masters through the registry, and says what came of it. */
import { usageError } from '../errors.js';
import { connect } from '../redis/connect.js';
import { parseRedisUrl } from '../redis/url.js';
import { type Answer, type Command, sendCommand } from '../registry/commands.js';
import { resolveTarget, type Target } from '../registry/target.js';
import { readRegistry, redisUrlOf } from './registry-access.js';
import type { RegistryCommandOptions } from './registry-options.js';
import { jsonText, type Screen, terminalScreen } from './screen.js';
import { safeText } from './terminal-text.js';

export type ControlVerb = Command['type'];

/** A drain, or a roll of many children, takes its time; whoever has none presses Ctrl-C, and it goes on. */
const DEADLINE_MS = 600_000;
const MAX_COUNT = 512;

/** Exit code 0: all of it is done; 1: something is not. */
export async function control(
  verb: ControlVerb,
  words: readonly string[],
  options: RegistryCommandOptions,
  screen: Screen = terminalScreen(),
): Promise<number> {
  const { snapshot } = await readRegistry(options);
  const targets = resolveTarget(snapshot.masters, words[0] ?? 'all');
  const orders = targets.map((target) => ({ target, command: commandOf(verb, target, words) }));
  const url = await redisUrlOf(options);
  const client = connect(parseRedisUrl(url, '--redis'), {
    name: 'swarm-control',
    role: 'blocking',
    tlsNoVerify: options.redisTlsNoVerify,
  });
  const results: { target: Target; answer: Answer }[] = [];
  try {
    // one after the other: a roll of all masters at once would be no roll
    for (const { target, command } of orders) {
      const name = nameOf(target);
      const onAnswer = ({ state, message }: Answer): void => {
        if (!options.json && state === 'news') screen.note(safeText(`${name}: ${message}`));
      };
      const { namespace } = options;
      const { identity: master } = target.master;
      const answer = await sendCommand(command, {
        client,
        namespace,
        master,
        deadlineMs: DEADLINE_MS,
        onAnswer,
      });
      results.push({ target, answer });
      if (!options.json) await screen.print(safeText(`${name}: ${verb} ${answer.state}: ${answer.message}`));
    }
  } finally {
    client.disconnect();
  }
  if (options.json) await screen.print(jsonText(results.map(asJson)));
  return results.every(({ answer }) => answer.state === 'done') ? 0 : 1;
}

function commandOf(type: ControlVerb, { master, child }: Target, words: readonly string[]): Command {
  switch (type) {
    case 'quiet':
    case 'resume':
    case 'stop':
      return { type, child: child?.identity ?? null };
    case 'roll':
      if (child)
        throw usageError(
          'SWARM_BAD_TARGET',
          `swarm roll takes a master; for one child: swarm recycle ${child.pid}`,
        );
      return { type };
    case 'recycle':
      if (!child)
        throw usageError(
          'SWARM_BAD_TARGET',
          `swarm recycle takes a child; for all of them: swarm roll ${master.host}`,
        );
      return { type, child: child.identity };
    case 'scale':
      if (child) throw usageError('SWARM_BAD_TARGET', 'swarm scale takes a master and a number');
      return { type, ...readScale(words[1] ?? '') };
  }
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

function asJson({ target, answer }: { target: Target; answer: Answer }): object {
  return { master: target.master.identity, child: target.child?.identity ?? null, ...answer };
}
