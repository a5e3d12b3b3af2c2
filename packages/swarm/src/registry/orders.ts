/** What is to be said to which master, so that a public command is carried out. Pure. */
import { usageError } from '../errors.js';
import { type Command, isCount, MAX_COUNT } from './commands.js';
import type { MasterRecord } from './schema.js';
import { resolveTarget, type Target } from './target.js';

/** `target`: see `resolveTarget`. */
export type RegistryCommand =
  | { type: 'quiet' | 'resume' | 'stop'; target: string }
  /** Have stacks and facts taken: of a child, or of all of a master's. */
  | { type: 'dump'; target: string }
  /** Of one master, or one after the other of `all` (the default). */
  | { type: 'roll'; target?: string | undefined }
  /** Of a child. */
  | { type: 'recycle'; target: string }
  /** Of a master; `group` where it has several. */
  | { type: 'scale'; target: string; group?: string | null | undefined; count: number };

export interface Order {
  target: Target;
  command: Command;
}

/** @throws SwarmError (exit 64) `SWARM_NO_TARGET`, `SWARM_BAD_TARGET` or `SWARM_BAD_COUNT` */
export function ordersOf(command: RegistryCommand, masters: readonly MasterRecord[]): Order[] {
  if (command.type === 'scale' && !isCount(command.count)) {
    throw usageError(
      'SWARM_BAD_COUNT',
      `scale takes a whole number from 1 to ${MAX_COUNT}, got ${JSON.stringify(command.count)}`,
    );
  }
  const targets = resolveTarget(masters, command.target ?? 'all');
  return targets.map((target) => ({ target, command: orderFor(command, target) }));
}

function orderFor(command: RegistryCommand, target: Target): Command {
  const { master, child } = target;
  const { type } = command;
  switch (type) {
    case 'quiet':
    case 'resume':
    case 'stop':
    case 'dump':
      return { type, child: child && seated(target) };
    case 'roll':
      if (!child) return { type };
      throw badTarget(`roll takes a master, and ${child.identity} is a child; for one child: recycle`);
    case 'recycle':
      if (child) return { type, child: seated(target) };
      throw badTarget(`recycle takes a child, and ${master.identity} is a master; for all of them: roll`);
    case 'scale':
      if (!child) return { type, group: command.group ?? null, count: command.count };
      throw badTarget(`scale takes a master and a number, and ${child.identity} is a child`);
  }
}

/** The identity of a child that can be told something. */
function seated({ child }: Target): string {
  if (child?.state === 'backoff' || child?.state === 'failed') {
    throw badTarget(
      `nobody sits in slot ${child.slot} now (${child.state}; ${child.identity} sat there last); scale changes the number of slots`,
    );
  }
  return child?.identity ?? '';
}

function badTarget(message: string): Error {
  return usageError('SWARM_BAD_TARGET', message);
}
