/** Reads the stream of dumps, a batch a round trip, until it has as many as are wanted. */
import type { DumpRecord } from '../dump.js';
import { decodeDumpRecord } from './decode-dump.js';
import { DUMP_FIELD } from './dump-stream.js';
import { registryKeys } from './keys.js';
import { type RegistryClient, run } from './reader.js';

export interface DumpQuery {
  /** At most so many; default 50. */
  limit?: number | undefined;
  /** Only those of the child with this identity, or this pid. */
  of?: string | undefined;
  /** Only these, by their `id`. */
  ids?: readonly string[] | undefined;
}

export interface DumpsReading {
  /** The newest first. */
  dumps: DumpRecord[];
  /** Entries that were skipped because they are malformed. */
  warnings: string[];
}

const DEFAULT_LIMIT = 50;
const BATCH = 50;

/** Throws `SWARM_BAD_NAMESPACE`, or the client's error when the connection fails. */
export async function readDumps(
  client: RegistryClient,
  namespace: string,
  query: DumpQuery = {},
): Promise<DumpsReading> {
  const { dumps: key } = registryKeys(namespace);
  const limit = query.limit ?? query.ids?.length ?? DEFAULT_LIMIT;
  const warnings: string[] = [];
  const found = new Map<string, DumpRecord>();
  for (let last = '+'; found.size < limit; ) {
    const [reply] = await run(client, [['xrevrange', key, last, '-', 'COUNT', String(BATCH)]], warnings);
    const entries = entriesOf(reply);
    for (const { id, text } of entries) {
      const record = text === null ? null : decodeDumpRecord(text);
      if (!record) warnings.push(`dump ${id}: malformed entry skipped`);
      // what Redis took without saying so was written again
      else if (found.size < limit && isWanted(record, query)) found.set(record.id, record);
    }
    const oldest = entries.at(-1)?.id;
    if (entries.length < BATCH || oldest === undefined) break;
    last = `(${oldest}`;
  }
  return { dumps: [...found.values()].sort((a, b) => b.atMs - a.atMs), warnings };
}

function isWanted({ id, identity, pid }: DumpRecord, { of, ids }: DumpQuery): boolean {
  if (ids && !ids.includes(id)) return false;
  return of === undefined || identity === of || String(pid) === of;
}

function entriesOf(reply: unknown): { id: string; text: string | null }[] {
  if (!Array.isArray(reply)) return [];
  return reply.flatMap((entry: unknown) => {
    const [id, fields] = Array.isArray(entry) ? entry : [];
    if (typeof id !== 'string' || !Array.isArray(fields)) return [];
    const at = fields.findIndex((field, index) => index % 2 === 0 && field === DUMP_FIELD);
    const text: unknown = at < 0 ? null : fields[at + 1];
    return [{ id, text: typeof text === 'string' ? text : null }];
  });
}
