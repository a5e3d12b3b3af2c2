/**
 * A master's own entry in the registry. One script call a beat, whatever the number of children, and each
 * beat writes the whole entry: after FLUSHALL one beat rebuilds it, and fields of children that are gone
 * go with the old hash. Rejected: writing only what changed, which needs to know what Redis still has.
 *
 * Nothing a record holds makes a beat fail: what has no JSON form is left out.
 */
import { type RedisClient, rootCause } from '../redis/connect.js';
import { type RegistryKeys, registryKeys } from './keys.js';
import type {
  ChildRecord,
  JobDurationRecord,
  JobMemoryRecord,
  MasterInfo,
  MasterState,
  Owed,
} from './schema.js';

/** All that a master says of itself. */
export interface MasterReport {
  info: MasterInfo;
  state: MasterState;
  generation: number;
  count: number;
  children: readonly ChildRecord[];
  owed: readonly Owed[];
  jobMemory: readonly JobMemoryRecord[];
  jobDurations: readonly JobDurationRecord[];
  /** Redis's clock minus this host's, ms, as of the beat before; missing: not known yet. */
  clockOffsetMs?: number | undefined;
  /** Why the last roll was given up; null or missing: it was not. */
  rollError?: string | null | undefined;
}

export interface BeatReply {
  /** Redis's clock, epoch ms, taken about half a round trip ago. */
  redisTimeMs: number;
  /** Round trip of this beat, microseconds. */
  rttUs: number;
  /** Identities of masters that are stale. */
  stale: string[];
  /** Somebody looks on: see `watched` of the keys. */
  isWatched: boolean;
}

/** Three beats of 5 s. */
export const STALE_AFTER_MS = 15_000;
/** How long a dead master's entry stays for its successor. */
export const KEEP_AFTER_MS = 3_600_000;
/** Job names are the app's, and may be as long as it likes; ids and queues are needed whole for a release. */
const MAX_JOB_NAME_LENGTH = 256;

/**
 * KEYS: masters, master:<identity>, watched. ARGV: identity, stale ms, keep ms, then field, value, …
 * DEL comes first on purpose: a script that has written may go on when Redis is out of memory, so a full
 * Redis still shows who is alive.
 */
const BEAT = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local keep = tonumber(ARGV[3])
redis.call('DEL', KEYS[2])
for i = 4, #ARGV, 1000 do
  redis.call('HSET', KEYS[2], unpack(ARGV, i, math.min(i + 999, #ARGV)))
end
redis.call('HSET', KEYS[2], 'beatAtMs', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[2], keep)
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%.0f', now - keep))
redis.call('PEXPIRE', KEYS[1], keep + tonumber(ARGV[2]))
return { now, redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, 100),
  redis.call('EXISTS', KEYS[3]) }
`;

type ScriptedClient = RedisClient & {
  swarmBeat(...keysAndArgs: string[]): Promise<[number, string[], number]>;
};

export class RegistryWriter {
  readonly #client: ScriptedClient;
  readonly #keys: RegistryKeys;
  #identity: string | null = null;

  /** Throws `SWARM_BAD_NAMESPACE`. */
  constructor(client: RedisClient, namespace: string) {
    this.#keys = registryKeys(namespace);
    client.defineCommand('swarmBeat', { numberOfKeys: 3, lua: BEAT });
    this.#client = client as ScriptedClient;
  }

  /**
   * Writes the whole entry. `lastRttUs` is what the beat before returned, null at the first. Rejects when
   * Redis cannot be reached or refuses; the next beat makes good for it.
   */
  async beat(report: MasterReport, lastRttUs: number | null): Promise<BeatReply> {
    const { identity } = report.info;
    this.#identity = identity;
    const fields = fieldsOf(report, lastRttUs);
    const sentAt = process.hrtime.bigint();
    const written = this.#client.swarmBeat(
      this.#keys.masters,
      this.#keys.master(identity),
      this.#keys.watched,
      identity,
      String(STALE_AFTER_MS),
      String(KEEP_AFTER_MS),
      ...fields,
    );
    const [redisTimeMs, stale, watched] = await written.catch((error: unknown) => {
      throw rootCause(this.#client, error);
    });
    return {
      redisTimeMs,
      rttUs: Number((process.hrtime.bigint() - sentAt) / 1_000n),
      stale,
      isWatched: watched === 1,
    };
  }

  /** Takes the own entry back, at a clean exit. Nothing to do before the first beat. */
  async remove(): Promise<void> {
    if (this.#identity !== null) await this.removeMaster(this.#identity);
  }

  /** Removes another master's entry, once its jobs are released. */
  async removeMaster(identity: string): Promise<void> {
    await this.#client.zrem(this.#keys.masters, identity);
    await this.#client.unlink(this.#keys.master(identity), this.#keys.commands(identity));
  }
}

function fieldsOf(report: MasterReport, rttUs: number | null): string[] {
  const fields = [
    ...['info', toJson(report.info)],
    ...['state', String(report.state)],
    ...['generation', wholeNumber(report.generation)],
    ...['count', wholeNumber(report.count)],
  ];
  if (typeof report.rollError === 'string') fields.push('rollError', report.rollError);
  if (report.owed.length > 0) fields.push('owed', toJson(report.owed));
  if (report.jobMemory.length > 0) fields.push('jobMemory', toJson(report.jobMemory));
  if (report.jobDurations.length > 0) fields.push('jobDurations', toJson(report.jobDurations));
  if (rttUs !== null && Number.isFinite(rttUs)) fields.push('rttUs', wholeNumber(rttUs));
  if (rttUs !== null && report.clockOffsetMs !== undefined)
    fields.push('clockOffsetMs', wholeNumber(report.clockOffsetMs));
  for (const child of report.children) fields.push(`child:${child.identity}`, toJson(trimmed(child)));
  return fields;
}

function trimmed(child: ChildRecord): ChildRecord {
  if (!Array.isArray(child.jobs)) return child;
  return {
    ...child,
    jobs: child.jobs.map((job) => ({ ...job, name: String(job.name).slice(0, MAX_JOB_NAME_LENGTH) })),
  };
}

function wholeNumber(value: number): string {
  return String(Number.isFinite(value) ? Math.trunc(value) : 0);
}

/** NaN and infinities become null, as in JSON; a field that has no JSON form (a cycle, a throwing getter) is left out. */
function toJson(record: object): string {
  try {
    return JSON.stringify(record, plain);
  } catch {
    const kept: Record<string, unknown> = {};
    for (const key of Object.keys(record)) {
      try {
        const text = JSON.stringify(Reflect.get(record, key), plain);
        if (text !== undefined) kept[key] = JSON.parse(text);
      } catch {
        // Left out.
      }
    }
    return JSON.stringify(kept);
  }
}

function plain(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? Number(value) : value;
}
