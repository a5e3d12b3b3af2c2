/** Reads the stream of death records, a batch a round trip, until it has as many as are wanted. */
import { type DeathRecord, isInherited, isPlanned } from '../death.js';
import { DEATH_FIELD } from './death-stream.js';
import { decodeDeathRecord } from './decode-death.js';
import { registryKeys } from './keys.js';
import { type RegistryClient, run } from './reader.js';

export interface DeathQuery {
  /** At most so many; default 50. */
  limit?: number | undefined;
  /** Those too that left as told, at a stop, a roll or a recycle; default false. */
  all?: boolean | undefined;
  /** Only the one with this identity, or those with this pid. */
  of?: string | undefined;
}

export interface DeathsReading {
  /** The newest first. */
  deaths: DeathRecord[];
  /** Entries that were skipped because they are malformed. */
  warnings: string[];
}

const DEFAULT_LIMIT = 50;
const BATCH = 100;

/** Throws `SWARM_BAD_NAMESPACE`, or the client's error when the connection fails. */
export async function readDeaths(
  client: RegistryClient,
  namespace: string,
  { limit = DEFAULT_LIMIT, all = false, of }: DeathQuery = {},
): Promise<DeathsReading> {
  const { deaths: key } = registryKeys(namespace);
  const warnings: string[] = [];
  const found = new Map<string, DeathRecord>();
  for (let last = '+'; found.size < limit; ) {
    const [reply] = await run(client, [['xrevrange', key, last, '-', 'COUNT', String(BATCH)]], warnings);
    const entries = entriesOf(reply);
    for (const { id, text } of entries) {
      const record = text === null ? null : decodeDeathRecord(text);
      if (!record) warnings.push(`death ${id}: malformed entry skipped`);
      else if (found.size < limit && isWanted(record, { all, of })) keep(found, record);
    }
    const oldest = entries.at(-1)?.id;
    if (entries.length < BATCH || oldest === undefined) break;
    last = `(${oldest}`;
  }
  // what waited for Redis was written later than it happened
  return { deaths: [...found.values()].sort((a, b) => b.atMs - a.atMs), warnings };
}

/** A process dies once: its first record stands, and its own master's before another's, who has seen nothing. */
function keep(found: Map<string, DeathRecord>, older: DeathRecord): void {
  const known = found.get(older.identity);
  if (!known || isInherited(known) || !isInherited(older)) found.set(older.identity, older);
}

function isWanted(record: DeathRecord, { all, of }: Pick<DeathQuery, 'all' | 'of'>): boolean {
  if (of !== undefined) return record.identity === of || String(record.pid) === of;
  return all === true || !isPlanned(record);
}

function entriesOf(reply: unknown): { id: string; text: string | null }[] {
  if (!Array.isArray(reply)) return [];
  return reply.flatMap((entry: unknown) => {
    const [id, fields] = Array.isArray(entry) ? entry : [];
    if (typeof id !== 'string' || !Array.isArray(fields)) return [];
    const at = fields.findIndex((field, index) => index % 2 === 0 && field === DEATH_FIELD);
    const text: unknown = at < 0 ? null : fields[at + 1];
    return [{ id, text: typeof text === 'string' ? text : null }];
  });
}
