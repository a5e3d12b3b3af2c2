/**
 * Requests to a master, through Redis: they reach it from anywhere, also when the child they are about
 * hangs, because the master has the channel. A request is an entry of the master's stream, and the master's
 * from the moment at which it deletes that entry; until then the sender can withdraw it. Its answers are
 * pushed to a list: one at once (`accepted`), then news, then the last (`done`, `failed`). Both keys expire by
 * themselves, whoever dies.
 *
 * Answers are polled for. Rejected: BLPOP, which would need a connection a request, and could not be done on
 * a client that is somebody else's.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { registryKeys } from './keys.js';
import type { RegistryClient } from './reader.js';

/** `child`: its identity; null: the master with all of its children. */
export type Command =
  | { type: 'quiet' | 'resume' | 'stop'; child: string | null }
  | { type: 'dump'; child: string | null }
  | { type: 'roll' }
  | { type: 'recycle'; child: string }
  | { type: 'profile'; child: string; forMs: number }
  /** `force`: however large its heap is. */
  | { type: 'heap'; child: string; force: boolean }
  /** `group` null: the only one. */
  | { type: 'scale'; group: string | null; count: number };

/** Those whose outcome is seen in the process table. */
export type ControlCommand = Exclude<Command, { type: 'dump' | 'profile' | 'heap' }>;

export interface Answer {
  /** `accepted` and `news` are followed by more; `done` and `failed` are the last. */
  state: 'accepted' | 'news' | 'done' | 'failed';
  /** For people. */
  message: string;
  /** Dumps that were taken, by their `id`. */
  dumps?: string[] | undefined;
  /** What was written, on the child's host. */
  file?: CapturedFile | undefined;
}

/** A profile or heap snapshot. */
export interface CapturedFile {
  /** Absolute, on the child's host. */
  path: string;
  bytes: number;
}

export interface CommandRequest {
  command: Command;
  reply: string;
}

/** A drain, or a roll of many children, takes its time; what is not done by then is answered as it is. */
export const COMMAND_DEADLINE_MS = 600_000;
/** As of the command line's `--count`. */
export const MAX_COUNT = 512;
/** Less says nothing; more is a file that no tool opens. */
export const MIN_PROFILE_MS = 100;
export const MAX_PROFILE_MS = 300_000;
/** A master that takes part answers within a turn of its loop; Redis and a busy host may take their time. */
const ACCEPT_WITHIN_MS = 5_000;
/** Its entry may be gone, or look stale, until its next beat: after FLUSHALL, or when Redis was away. */
const GONE_AFTER_MS = 6_000;
const REQUEST_EXPIRES_MS = 600_000;
const ANSWERS_EXPIRE_MS = 120_000;
const MAX_REQUESTS = 100;
/** Short while most answers come, then easy on Redis. */
const POLL_MS = 25;
const LATER_POLL_MS = 200;
const OFTEN_FOR_MS = 2_000;
const ANSWERS_AT_ONCE = 100;

export interface SendOptions {
  namespace: string;
  /** Identity of the master. */
  master: string;
  /** How long to wait for the last answer, ms. */
  deadlineMs: number;
  /** Called with each answer, the last one included. */
  onAnswer?: ((answer: Answer) => void) | undefined;
}

/**
 * Resolves to the last answer, or to a `failed` one that says which deadline passed or who is gone. Rejects
 * when the request cannot be written; a Redis that goes away later is waited for.
 */
export async function sendCommand(
  client: RegistryClient,
  command: Command,
  options: SendOptions,
): Promise<Answer> {
  const request = await Request.write(client, command, options);
  const answer = await request.lastAnswer();
  options.onAnswer?.(answer);
  return answer;
}

class Request {
  readonly #client: RegistryClient;
  readonly #command: Command;
  readonly #options: SendOptions;
  readonly #reply: string;
  readonly #entryId: string;
  readonly #startedAtMs = performance.now();
  /** Since when Redis has answered without a break: what it does not do is not the master's fault. */
  #reachableSinceMs = performance.now();
  /** Since when its master has no entry that is not stale; null: it has. */
  #missingSinceMs: number | null = null;
  #accepted = false;
  #withdrawn = false;

  private constructor(
    client: RegistryClient,
    command: Command,
    options: SendOptions,
    entry: { reply: string; id: string },
  ) {
    this.#client = client;
    this.#command = command;
    this.#options = options;
    this.#reply = entry.reply;
    this.#entryId = entry.id;
  }

  static async write(client: RegistryClient, command: Command, options: SendOptions): Promise<Request> {
    const keys = registryKeys(options.namespace);
    const reply = keys.reply(randomUUID());
    const stream = keys.commands(options.master);
    const fields = ['command', JSON.stringify(command), 'reply', reply];
    const [id] = await exec(client, [
      ['xadd', stream, 'MAXLEN', '~', String(MAX_REQUESTS), '*', ...fields],
      ['pexpire', stream, String(REQUEST_EXPIRES_MS)],
    ]);
    return new Request(client, command, options, { reply, id: String(id) });
  }

  async lastAnswer(): Promise<Answer> {
    for (;;) {
      const last = (await this.#look()) ?? (await this.#tooLate());
      if (last) return last;
      await delay(performance.now() - this.#startedAtMs < OFTEN_FOR_MS ? POLL_MS : LATER_POLL_MS);
    }
  }

  async #look(): Promise<Answer | null> {
    const { masters } = registryKeys(this.#options.namespace);
    try {
      const [answers, staleAtMs, time] = await exec(this.#client, [
        ['lpop', this.#reply, String(ANSWERS_AT_ONCE)],
        ['zscore', masters, this.#options.master],
        ['time'],
      ]);
      const [seconds] = time as [string];
      const isThere = staleAtMs !== null && Number(staleAtMs) > Number(seconds) * 1_000;
      return this.#take(answers) ?? this.#judge(isThere, staleAtMs === null);
    } catch {
      this.#reachableSinceMs = performance.now();
      this.#missingSinceMs = null;
      return null;
    }
  }

  /** @param removed it took its entry with it, as a master that stops does */
  #judge(isThere: boolean, removed: boolean): Answer | null {
    const nowMs = performance.now();
    if (isThere) this.#missingSinceMs = null;
    else this.#missingSinceMs ??= nowMs;
    if (this.#missingSinceMs === null || nowMs - this.#missingSinceMs < GONE_AFTER_MS) return null;
    const { type } = this.#command;
    if (removed && type === 'stop' && this.#command.child === null)
      return { state: 'done', message: 'stopped' };
    const how = removed ? 'has stopped' : 'is gone: no beat for 15 s';
    return { state: 'failed', message: `the master ${how}; swarm ps shows who is there` };
  }

  /** The last answer, if it is among these. */
  #take(texts: unknown): Answer | null {
    for (const text of Array.isArray(texts) ? texts : []) {
      const answer = parseAnswer(String(text));
      if (!answer) continue;
      this.#accepted = true;
      if (answer.state === 'done' || answer.state === 'failed') return answer;
      this.#options.onAnswer?.(answer);
    }
    return null;
  }

  async #tooLate(): Promise<Answer | null> {
    const nowMs = performance.now();
    const failed = (why: string): Answer => ({ state: 'failed', message: why });
    if (nowMs - this.#startedAtMs > this.#options.deadlineMs) {
      const withdrawn = !this.#accepted && (await this.#withdraw().catch(() => false));
      if (withdrawn) return failed('the master has not answered yet; the command is withdrawn');
      return failed('still under way; swarm ps shows how it goes on');
    }
    if (this.#accepted || this.#missingSinceMs !== null) return null;
    if (nowMs - this.#reachableSinceMs <= ACCEPT_WITHIN_MS) return null;
    const within = `no answer within ${ACCEPT_WITHIN_MS / 1_000} s`;
    if (this.#withdrawn) return failed(`${within}: the request is lost; swarm ps shows whether it was heard`);
    try {
      const removed = await this.#withdraw();
      if (removed) return failed(`${within}: the master does not read its commands; this one is withdrawn`);
      // it was taken just now, or Redis has lost it: whoever took it answers
      this.#reachableSinceMs = nowMs;
    } catch {
      // Redis is away
    }
    return null;
  }

  /** Whether it was still there. */
  async #withdraw(): Promise<boolean> {
    const stream = registryKeys(this.#options.namespace).commands(this.#options.master);
    const [removed] = await exec(this.#client, [['xdel', stream, this.#entryId]]);
    this.#withdrawn = true;
    return Number(removed) > 0;
  }
}

async function exec(client: RegistryClient, commands: string[][]): Promise<unknown[]> {
  const replies = (await client.pipeline(commands).exec()) ?? [];
  return replies.map(([error, reply]) => {
    if (error) throw error;
    return reply;
  });
}

/** The master's side of `sendCommand`. */
export async function pushAnswer(client: RegistryClient, reply: string, answer: Answer): Promise<void> {
  await exec(client, [
    ['rpush', reply, JSON.stringify(answer)],
    ['pexpire', reply, String(ANSWERS_EXPIRE_MS)],
  ]);
}

/** An entry of the stream; null: it is none of ours, and nobody can be answered. */
export function parseRequest(
  fields: readonly string[],
  namespace: string,
): CommandRequest | { reply: string; error: string } | null {
  const record = new Map<string, string>();
  for (let at = 0; at + 1 < fields.length; at += 2)
    record.set(fields[at] as string, fields[at + 1] as string);
  const reply = record.get('reply');
  // answers go to keys of ours only, whatever a request says
  if (!reply?.startsWith(registryKeys(namespace).reply(''))) return null;
  const command = parseCommand(record.get('command') ?? '');
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
  const { type, child, group, count, forMs, force } = raw as Record<string, unknown>;
  switch (type) {
    case 'quiet':
    case 'resume':
    case 'stop':
    case 'dump':
      return child === null || typeof child === 'string' ? { type, child } : null;
    case 'roll':
      return { type };
    case 'recycle':
      return typeof child === 'string' ? { type, child } : null;
    case 'profile':
      return typeof child === 'string' && isProfileTime(forMs) ? { type, child, forMs } : null;
    case 'heap':
      return typeof child === 'string' && typeof force === 'boolean' ? { type, child, force } : null;
    case 'scale':
      return isCount(count) && (group === null || typeof group === 'string') ? { type, group, count } : null;
    default:
      return null;
  }
}

export function isProfileTime(value: unknown): value is number {
  return typeof value === 'number' && value >= MIN_PROFILE_MS && value <= MAX_PROFILE_MS;
}

/** Of children in a group. */
export function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= MAX_COUNT;
}

function parseAnswer(text: string): Answer | null {
  try {
    const { state, message, dumps, file } = JSON.parse(text) as Answer;
    if (!['accepted', 'news', 'done', 'failed'].includes(state)) return null;
    const answer: Answer = { state, message: String(message) };
    if (Array.isArray(dumps)) answer.dumps = dumps.map(String);
    if (file) answer.file = { path: String(file.path), bytes: Number(file.bytes) };
    return answer;
  } catch {
    return null;
  }
}
