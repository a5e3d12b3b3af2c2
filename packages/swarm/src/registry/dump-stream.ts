/** Writes dumps: a capped stream, an entry a dump. What Redis does not take waits, and is tried again. */
import type { DumpRecord } from '../dump.js';
import type { RedisClient } from '../redis/connect.js';
import { registryKeys } from './keys.js';

/** About so many: Redis trims whole nodes of the stream. */
const MAX_RECORDS = 200;
/** After the last dump. */
const KEEP_MS = 30 * 86_400_000;
/** Those that wait for Redis; beyond this the oldest are given up. */
const MAX_UNWRITTEN = 50;

/** The stream entry's one field. */
export const DUMP_FIELD = 'dump';

export class DumpStream {
  readonly #client: RedisClient;
  readonly #key: string;
  readonly #unwritten: DumpRecord[] = [];
  #writing: Promise<void> = Promise.resolve();

  /** Throws `SWARM_BAD_NAMESPACE`. */
  constructor(client: RedisClient, namespace: string) {
    this.#client = client;
    this.#key = registryKeys(namespace).dumps;
  }

  /** Resolves when it is written, or waits because Redis does not take it. */
  add(record: DumpRecord): Promise<void> {
    this.#unwritten.push(record);
    if (this.#unwritten.length > MAX_UNWRITTEN) this.#unwritten.shift();
    return this.retry();
  }

  retry(): Promise<void> {
    if (this.#unwritten.length > 0) this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  async #write(): Promise<void> {
    for (let record = this.#unwritten[0]; record; record = this.#unwritten[0]) {
      try {
        await Promise.all([
          this.#client.xadd(this.#key, 'MAXLEN', '~', MAX_RECORDS, '*', DUMP_FIELD, JSON.stringify(record)),
          this.#client.pexpire(this.#key, KEEP_MS),
        ]);
      } catch {
        // Redis is away, which the reporter tells
        return;
      }
      // it may have been given up meanwhile
      const at = this.#unwritten.indexOf(record);
      if (at >= 0) this.#unwritten.splice(at, 1);
    }
  }
}
