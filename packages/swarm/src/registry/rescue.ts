/** The registry's part in releasing what lost masters held: who does it, and what is known so far. */
import type { RedisClient } from '../redis/connect.js';
import { type RegistryKeys, registryKeys } from './keys.js';
import { readSnapshot } from './reader.js';
import type { MasterRecord } from './schema.js';

/**
 * KEYS: masters, master:<lost>, lost:<lost>. ARGV: lost, own identity, claim ms, note.
 * In one step with the look at its beat: whoever beats again is left alone. The note is a field of the stale entry,
 * and so goes with it, and with the first beat of a master that comes back.
 */
const CLAIM = `
local time = redis.call('TIME')
local staleAt = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not staleAt or tonumber(staleAt) > time[1] * 1000 + math.floor(time[2] / 1000) then
  return { 'back', '' }
end
local owner = redis.call('GET', KEYS[3])
if owner and owner ~= ARGV[2] then return { 'others', '' } end
redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3])
if redis.call('EXISTS', KEYS[2]) == 0 then return { 'ours', '' } end
if ARGV[4] ~= '' then redis.call('HSET', KEYS[2], 'rescue', ARGV[4]) end
return { 'ours', redis.call('HGET', KEYS[2], 'rescue') or '' }
`;

/** KEYS: masters, master:<lost>, commands:<lost>, lost:<lost>. ARGV: lost. Only while it is stale. */
const FORGET = `
local time = redis.call('TIME')
local staleAt = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not staleAt or tonumber(staleAt) > time[1] * 1000 + math.floor(time[2] / 1000) then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
return redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4])
`;

type ScriptedClient = RedisClient & {
  swarmClaim(masters: string, master: string, claim: string, ...args: string[]): Promise<[string, string]>;
  swarmForget(...keysAndLost: [string, string, string, string, string]): Promise<number>;
};

export interface Claim {
  outcome: 'ours' | 'others' | 'back';
  /** As it was written last; may be anything. */
  note: unknown;
}

export class Rescue {
  readonly #client: ScriptedClient;
  readonly #namespace: string;
  readonly #keys: RegistryKeys;
  /** Own identity. */
  readonly #self: string;

  /** Throws `SWARM_BAD_NAMESPACE`. Every method rejects when Redis cannot be reached. */
  constructor(client: RedisClient, namespace: string, self: string) {
    this.#keys = registryKeys(namespace);
    client.defineCommand('swarmClaim', { numberOfKeys: 3, lua: CLAIM });
    client.defineCommand('swarmForget', { numberOfKeys: 4, lua: FORGET });
    this.#client = client as ScriptedClient;
    this.#namespace = namespace;
    this.#self = self;
  }

  async masters(): Promise<MasterRecord[]> {
    return (await readSnapshot(this.#client, this.#namespace)).masters;
  }

  /** Claims a stale master for `claimMs`, or renews the claim. `note` null: nothing is known yet. */
  async claim(lost: string, claimMs: number, note: object | null): Promise<Claim> {
    const { masters, master, claim } = this.#keys;
    const text = note === null ? '' : JSON.stringify(note);
    const args = [lost, this.#self, String(claimMs), text];
    const [outcome, written] = await this.#client.swarmClaim(masters, master(lost), claim(lost), ...args);
    return { outcome: outcome as Claim['outcome'], note: parse(written) };
  }

  /** Removes a stale master from the registry. */
  async forget(lost: string): Promise<void> {
    const { masters, master, commands, claim } = this.#keys;
    await this.#client.swarmForget(masters, master(lost), commands(lost), claim(lost), lost);
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
