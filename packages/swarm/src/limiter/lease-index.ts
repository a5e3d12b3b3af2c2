/**
 * In which limiters a child may hold leases, or wait: a set in Redis, for whoever frees them when the child is
 * dead. It has limiters, not leases, so that one that is used all the time costs nothing after the first; one that
 * was not used for a while is taken out again.
 *
 * Written before the lease is taken, on the same connection, so whatever a dead child holds is in it.
 */
import type { LimiterRedis } from './client.js';
import { type Definition, definitionOf, entryOf } from './definition.js';
import { Script } from './script.js';

const KEEP_MS = 3_600_000;
const SWEEP_MS = 10_000;
/** Long enough for a child that is alive, short enough for one whose end nobody has seen. */
const REFRESH_MS = KEEP_MS / 6;
/** A second and a third sweep may find what came late. */
const FREED_MS = 60_000;
const MAX_NAMES = 5_000;

const ADD = new Script(
  "redis.call('SADD', KEYS[1], unpack(ARGV, 2)) return redis.call('PEXPIRE', KEYS[1], ARGV[1])",
);
const REMOVE = new Script("return redis.call('SREM', KEYS[1], unpack(ARGV))");
const READ = new Script(
  "if redis.call('PTTL', KEYS[1]) > tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end " +
    "return redis.call('SMEMBERS', KEYS[1])",
);

export class LeaseIndex {
  readonly #client: LimiterRedis;
  readonly #key: string;
  readonly #isInUse: (name: string) => boolean;
  /** Its entry → when it was last asked for, monotonic. */
  readonly #entries = new Map<string, { name: string; usedAtMs: number; writtenAtMs: number }>();
  #sweeper: NodeJS.Timeout | undefined;

  /** @param isInUse whether this process holds or waits for anything there */
  constructor(client: LimiterRedis, identity: string, isInUse: (name: string) => boolean) {
    this.#client = client;
    this.#key = indexKey(identity);
    this.#isInUse = isInUse;
  }

  /** null: it is there. A cluster has the index on another node than the limiter: there it is to be waited for. */
  add(definition: Definition): Promise<unknown> | null {
    const entry = entryOf(definition);
    const nowMs = performance.now();
    const known = this.#entries.get(entry);
    if (known && nowMs - known.writtenAtMs < REFRESH_MS) {
      known.usedAtMs = nowMs;
      return null;
    }
    this.#entries.set(entry, { name: definition.name, usedAtMs: nowMs, writtenAtMs: nowMs });
    this.#sweeper ??= setInterval(() => this.#sweep(), SWEEP_MS).unref();
    const written = ADD.run(this.#client, [this.#key], [String(KEEP_MS), entry]);
    written.catch(() => this.#entries.delete(entry));
    return this.#client.isCluster ? written : null;
  }

  close(): void {
    clearInterval(this.#sweeper);
  }

  #sweep(): void {
    const nowMs = performance.now();
    const unused: string[] = [];
    const old: string[] = [];
    for (const [entry, { name, usedAtMs, writtenAtMs }] of this.#entries) {
      if (this.#isInUse(name) || nowMs - usedAtMs < SWEEP_MS) {
        if (nowMs - writtenAtMs >= REFRESH_MS) old.push(entry);
      } else if (unused.length < MAX_NAMES) unused.push(entry);
    }
    for (const entry of unused) this.#entries.delete(entry);
    for (const entry of old) {
      const known = this.#entries.get(entry);
      if (known) known.writtenAtMs = nowMs;
    }
    if (unused.length > 0) REMOVE.run(this.#client, [this.#key], unused).catch(ignore);
    if (old.length > 0) {
      ADD.run(this.#client, [this.#key], [String(KEEP_MS), ...old.slice(0, MAX_NAMES)]).catch(ignore);
    }
  }
}

/** In which limiters the child with this identity may hold leases. */
export async function limitersOf(
  client: Pick<LimiterRedis, 'eval' | 'evalsha'>,
  identity: string,
): Promise<Definition[]> {
  const entries = await READ.run(client, [indexKey(identity)], [String(FREED_MS)]);
  return (entries as string[]).flatMap((entry) => definitionOf(entry) ?? []);
}

function indexKey(identity: string): string {
  return `swarm:leases:{${identity}}`;
}

function ignore(): void {}
