/** What is to be said to which master, so that a public command is carried out. Pure. */
import { usageError } from '../errors.js';
import {
  type Command,
  isCount,
  isProfileTime,
  MAX_COUNT,
  MAX_PROFILE_MS,
  MIN_PROFILE_MS,
} from './commands.js';
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
  /** A CPU profile of a child, `forMs` long (default 10 s), or a snapshot of its heap: to a file on its host. */
  | { type: 'profile'; target: string; forMs?: number | undefined }
  /** `force`: however large the heap is. */
  | { type: 'heap'; target: string; force?: boolean | undefined }
  /** Of a master; `group` where it has several. */
  | { type: 'scale'; target: string; group?: string | null | undefined; count: number };

export const DEFAULT_PROFILE_MS = 10_000;

export interface Order {
  target: Target;
  command: Command;
}

/** @throws SwarmError (exit 64) `SWARM_NO_TARGET`, `SWARM_BAD_TARGET`, `SWARM_BAD_COUNT` or `SWARM_BAD_FOR` */
export function ordersOf(command: RegistryCommand, masters: readonly MasterRecord[]): Order[] {
  if (command.type === 'scale' && !isCount(command.count)) {
    throw usageError(
      'SWARM_BAD_COUNT',
      `scale takes a whole number from 1 to ${MAX_COUNT}, got ${JSON.stringify(command.count)}`,
    );
  }
  if (command.type === 'profile' && command.forMs !== undefined && !isProfileTime(command.forMs)) {
    throw usageError(
      'SWARM_BAD_FOR',
      `a profile takes from ${MIN_PROFILE_MS} ms to ${MAX_PROFILE_MS / 60_000} min, got ${command.forMs} ms`,
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
    case 'profile':
      if (child) return { type, child: seated(target), forMs: command.forMs ?? DEFAULT_PROFILE_MS };
      throw badTarget(`profile takes a child, and ${master.identity} is a master`);
    case 'heap':
      if (child) return { type, child: seated(target), force: command.force ?? false };
      throw badTarget(`heap takes a child, and ${master.identity} is a master`);
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
