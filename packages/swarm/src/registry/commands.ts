/**
 * Requests to a master, through Redis: they reach it from anywhere, also when the child they are about
 * hangs, because the master has the channel. A request is an entry of the master's stream; its answers
 * are pushed to a list of its own, one at once (`accepted`), then news, then the last (`done`, `failed`).
 * Both keys expire by themselves, whoever dies.
 */
import { randomUUID } from 'node:crypto';
import type { RedisClient } from '../redis/connect.js';
import { registryKeys } from './keys.js';

/** `child`: its identity; null: the master with all of its children. */
export type Command =
  | { type: 'quiet' | 'resume' | 'stop'; child: string | null }
  | { type: 'roll' }
  | { type: 'recycle'; child: string }
  /** `group` null: the only one. */
  | { type: 'scale'; group: string | null; count: number };

export interface Answer {
  /** `accepted` and `news` are followed by more; `done` and `failed` are the last. */
  state: 'accepted' | 'news' | 'done' | 'failed';
  /** For people. */
  message: string;
}

export interface CommandRequest {
  command: Command;
  reply: string;
}

/** A master that takes part answers within a beat of its loop; Redis and a busy host may take their time. */
export const ACCEPT_WITHIN_MS = 5_000;
const REQUEST_EXPIRES_MS = 600_000;
const ANSWERS_EXPIRE_MS = 120_000;
const MAX_REQUESTS = 100;
const BLOCK_SECONDS = 2;

export interface SendOptions {
  client: RedisClient;
  namespace: string;
  /** Identity of the master. */
  master: string;
  /** How long to wait for the last answer, ms. */
  deadlineMs: number;
  onAnswer?: (answer: Answer) => void;
}

/** Resolves to the last answer, or to a `failed` one that says which deadline passed. */
export async function sendCommand(command: Command, options: SendOptions): Promise<Answer> {
  const { client, namespace, master, onAnswer } = options;
  const keys = registryKeys(namespace);
  const reply = keys.reply(randomUUID());
  const stream = keys.commands(master);
  await client.xadd(
    stream,
    'MAXLEN',
    '~',
    MAX_REQUESTS,
    '*',
    'command',
    JSON.stringify(command),
    'reply',
    reply,
  );
  await client.pexpire(stream, REQUEST_EXPIRES_MS);
  const startedAtMs = performance.now();
  for (let accepted = false; ; ) {
    const answer = parseAnswer((await client.blpop(reply, BLOCK_SECONDS))?.[1]);
    if (answer) {
      accepted = true;
      onAnswer?.(answer);
      if (answer.state === 'done' || answer.state === 'failed') return answer;
    }
    const waitedMs = performance.now() - startedAtMs;
    if (!accepted && waitedMs > ACCEPT_WITHIN_MS) {
      return {
        state: 'failed',
        message: `no answer within ${ACCEPT_WITHIN_MS / 1_000} s: the master does not read its commands`,
      };
    }
    if (!answer && !(await isAlive(client, keys.masters, master))) {
      return { state: 'failed', message: 'the master is gone; swarm ps shows who is there' };
    }
    if (waitedMs > options.deadlineMs)
      return { state: 'failed', message: 'still under way; swarm ps shows how it goes on' };
  }
}

/** A master that stopped took its entry with it; one that was killed is stale some seconds later. */
async function isAlive(client: RedisClient, mastersKey: string, master: string): Promise<boolean> {
  const [staleAtMs, [seconds]] = await Promise.all([client.zscore(mastersKey, master), client.time()]);
  return staleAtMs !== null && Number(staleAtMs) > Number(seconds) * 1_000;
}

/** The master's side of `sendCommand`. */
export async function pushAnswer(client: RedisClient, reply: string, answer: Answer): Promise<void> {
  await client.rpush(reply, JSON.stringify(answer));
  await client.pexpire(reply, ANSWERS_EXPIRE_MS);
}

/** An entry of the stream; null: it is none of ours, and nobody can be answered. */
export function parseRequest(
  fields: readonly string[],
  namespace: string,
): CommandRequest | { reply: string; error: string } | null {
  const record: Record<string, string> = {};
  for (let i = 0; i + 1 < fields.length; i += 2) record[fields[i] as string] = fields[i + 1] as string;
  const { reply } = record;
  // answers go to keys of ours only, whatever a request says
  if (!reply?.startsWith(registryKeys(namespace).reply(''))) return null;
  const command = parseCommand(record['command'] ?? '');
  return command ? { command, reply } : { reply, error: 'this master does not know such a command' };
}

function parseCommand(text: string): Command | null {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof raw !== 'object' || raw === null) return null;
  const { type, child, group, count } = raw as Record<string, unknown>;
  switch (type) {
    case 'quiet':
    case 'resume':
    case 'stop':
      return child === null || typeof child === 'string' ? { type, child } : null;
    case 'roll':
      return { type };
    case 'recycle':
      return typeof child === 'string' ? { type, child } : null;
    case 'scale': {
      const isCount = typeof count === 'number' && Number.isInteger(count) && count >= 1 && count <= 512;
      return isCount && (group === null || typeof group === 'string') ? { type, group, count } : null;
    }
    default:
      return null;
  }
}

function parseAnswer(text: string | undefined): Answer | null {
  if (text === undefined) return null;
  try {
    const { state, message } = JSON.parse(text) as Answer;
    return ['accepted', 'news', 'done', 'failed'].includes(state)
      ? { state, message: String(message) }
      : null;
  } catch {
    return null;
  }
}
