/**
 * Which limiters were used of late, for whoever lists them: a sorted set beside them, written at most once a second
 * by a process, however many limiters it uses. It is no part of any limit: what is missed there limits as ever.
 *
 * Rejected: to look for their keys. On a Redis full of jobs a SCAN takes seconds.
 */
import type { LimiterRedis } from './client.js';
import { type Definition, entryOf } from './definition.js';
import { Script } from './script.js';

export const USE_LOG_KEY = 'swarm:limits';
/** As long as an unused limiter lives, see head.lua. */
const IDLE_MS = 900_000;
const AGAIN_MS = IDLE_MS / 3;
const FLUSH_MS = 1_000;
const MAX_ENTRIES = 10_000;
/** What a process remembers to have said. */
const MAX_NOTED = 10_000;
const MAX_BATCH = 1_000;

const NOTE = new Script(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for at = 3, #ARGV do
  redis.call('ZADD', KEYS[1], now, ARGV[at])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[1]))
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[2]))
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
`);

export class UseLog {
  readonly #client: LimiterRedis;
  readonly #notedAtMs = new Map<string, number>();
  #unwritten = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(client: LimiterRedis) {
    this.#client = client;
  }

  note(definition: Definition): void {
    const entry = entryOf(definition);
    const nowMs = performance.now();
    if (nowMs - (this.#notedAtMs.get(entry) ?? Number.NEGATIVE_INFINITY) < AGAIN_MS) return;
    if (this.#notedAtMs.size >= MAX_NOTED) this.#notedAtMs.clear();
    this.#notedAtMs.set(entry, nowMs);
    if (this.#unwritten.size < MAX_BATCH) this.#unwritten.add(entry);
    this.#timer ??= setTimeout(() => void this.#flush(), FLUSH_MS).unref();
  }

  close(): Promise<void> {
    return this.#flush();
  }

  async #flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const entries = [...this.#unwritten];
    this.#unwritten = new Set();
    if (entries.length === 0) return;
    try {
      await NOTE.run(this.#client, [USE_LOG_KEY], [String(IDLE_MS), String(MAX_ENTRIES), ...entries]);
    } catch {
      for (const entry of entries) this.#notedAtMs.delete(entry);
    }
  }
}
