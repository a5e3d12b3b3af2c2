/** Carries out a public command: one order a master, and what came of each. */
import { type Answer, type CapturedFile, COMMAND_DEADLINE_MS, sendCommand } from './commands.js';
import { readSnapshotHere } from './gone-masters.js';
import { type Order, ordersOf, type RegistryCommand } from './orders.js';
import type { RegistryClient } from './reader.js';
import type { Target } from './target.js';

export interface CommandResult {
  /** Identity of the master. */
  master: string;
  /** Identity of the child that it was about; null: the master with all of its children. */
  child: string | null;
  state: 'done' | 'failed';
  /** For people. */
  message: string;
  /** Of `dump`: the dumps, by their `id`. */
  dumps?: string[] | undefined;
  /** Of `profile` and `heap`: what was written, on the child's host. */
  file?: CapturedFile | undefined;
}

export interface CommandOptions {
  /** How long to wait for each master's last answer, ms; default 10 min. What is under way then goes on. */
  deadlineMs?: number | undefined;
  /** Called with each answer of a master, the last one included. */
  onAnswer?: ((answer: Answer, target: Target) => void) | undefined;
}

export async function sendToAll(
  client: RegistryClient,
  namespace: string,
  command: RegistryCommand,
  { deadlineMs = COMMAND_DEADLINE_MS, onAnswer }: CommandOptions = {},
): Promise<CommandResult[]> {
  const { masters } = await readSnapshotHere(client, namespace);
  const orders = ordersOf(command, masters);
  const send = async ({ target, command }: Order): Promise<CommandResult> => {
    const { state, message, dumps, file } = await sendCommand(client, command, {
      namespace,
      master: target.master.identity,
      deadlineMs,
      onAnswer: (answer) => onAnswer?.(answer, target),
    });
    const result = resultOf(target, state === 'done' ? 'done' : 'failed', message);
    return { ...result, ...(dumps ? { dumps } : {}), ...(file ? { file } : {}) };
  };
  return command.type === 'roll' ? oneByOne(orders, send) : Promise.all(orders.map(send));
}

/** A roll of all masters at once would be no roll; and code that does not boot here boots nowhere. */
async function oneByOne(
  orders: readonly Order[],
  send: (order: Order) => Promise<CommandResult>,
): Promise<CommandResult[]> {
  const results: CommandResult[] = [];
  for (const order of orders) {
    const failed = results.find(({ state }) => state === 'failed');
    if (failed)
      results.push(resultOf(order.target, 'failed', `not rolled, because ${failed.master} was not`));
    else results.push(await send(order));
  }
  return results;
}

function resultOf({ master, child }: Target, state: 'done' | 'failed', message: string): CommandResult {
  return { master: master.identity, child: child?.identity ?? null, state, message };
}
