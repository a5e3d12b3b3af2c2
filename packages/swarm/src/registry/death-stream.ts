/**
 * Writes death records: a capped stream, an entry a record. Planned ends are the many and tell little, so
 * each master keeps only its newest few, or a day of recycles would push the crashes out.
 */
import type { DeathRecord } from '../death.js';
import type { RedisClient } from '../redis/connect.js';
import { registryKeys } from './keys.js';

/** About so many: Redis trims whole nodes of the stream. */
const MAX_RECORDS = 1_000;
const MAX_PLANNED = 50;
/** After the last death. */
const KEEP_MS = 30 * 86_400_000;

/** The stream entry's one field. */
export const DEATH_FIELD = 'death';

export class DeathStream {
  readonly #client: RedisClient;
  readonly #key: string;
  /** Ids of the planned ends that this master wrote, oldest first. */
  readonly #planned: string[] = [];

  /** Throws `SWARM_BAD_NAMESPACE`. */
  constructor(client: RedisClient, namespace: string) {
    this.#client = client;
    this.#key = registryKeys(namespace).deaths;
  }

  /** Rejects when Redis cannot be reached or refuses. It may have taken the record nevertheless: readers know an identity once. */
  async add(record: DeathRecord, isPlanned: boolean): Promise<void> {
    const key = this.#key;
    const text = JSON.stringify(record);
    const [id] = await Promise.all([
      this.#client.xadd(key, 'MAXLEN', '~', MAX_RECORDS, '*', DEATH_FIELD, text),
      this.#client.pexpire(key, KEEP_MS),
    ]);
    if (!isPlanned || id === null) return;
    this.#planned.push(id);
    const [oldest] = this.#planned.length > MAX_PLANNED ? this.#planned.splice(0, 1) : [];
    if (oldest !== undefined) await this.#client.xdel(key, oldest);
  }
}
