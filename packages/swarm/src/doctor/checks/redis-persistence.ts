/** What is left of the jobs when Redis restarts? */
import { defineCheck, NotLookedAt, type Verdict, verdictOf } from '../check.js';
import { at, type Server } from '../servers.js';

export interface PersistenceFacts {
  servers: readonly {
    at: string;
    aof: boolean;
    /** The `save` points, '' for none; null: not told. */
    savePoints: string | null;
    /** What it could not write of late. */
    failed: readonly string[];
    appendfsync: string | null;
  }[];
}

const STATUS_FIELDS = {
  rdb_last_bgsave_status: 'snapshot',
  aof_last_write_status: 'append-only file',
  aof_last_bgrewrite_status: 'rewrite of the append-only file',
} as const;

export const redisPersistence = defineCheck<PersistenceFacts>({
  name: 'redis-persistence',
  section: 'Redis',
  async gather(exam) {
    const servers = await exam.servers();
    if (servers.every(({ info }) => !info.has('aof_enabled')))
      throw new NotLookedAt('this Redis does not say what it keeps on disk');
    return { servers: servers.map((server) => factsOf(server, at(server, servers))) };
  },
  judge: judgePersistence,
});

function factsOf({ info, config }: Server, at: string): PersistenceFacts['servers'][number] {
  const fields = Object.entries(STATUS_FIELDS);
  return {
    at,
    aof: info.get('aof_enabled') === '1',
    savePoints: config?.get('save') ?? null,
    failed: fields.filter(([field]) => info.get(field) === 'err').map(([, name]) => name),
    appendfsync: config?.get('appendfsync') ?? null,
  };
}

export function judgePersistence({ servers }: PersistenceFacts): Verdict {
  const problems = servers.flatMap(({ at, aof, savePoints, failed }) => {
    if (failed.length > 0) {
      return {
        status: 'fail' as const,
        found: `Redis${at} could not write its ${failed.join(' and its ')}`,
        cure: 'make room on its disk, or give it back the right to write there; its own log says which: it may refuse jobs (MISCONF) until then',
      };
    }
    if (aof || savePoints !== '') return [];
    return {
      status: 'warn' as const,
      found: `Redis${at} keeps nothing on disk`,
      cure: 'CONFIG SET appendonly yes, and the same in its configuration file or at its host',
    };
  });
  const how = servers.map(({ aof, savePoints, appendfsync }) => {
    if (aof) return `append-only file, ${appendfsync === 'always' ? 'each write' : 'every second'}`;
    return savePoints === null
      ? 'not told whether there are snapshots'
      : 'snapshots; those since the last are lost';
  });
  const why = 'At its restart all jobs are gone: those that wait, those that are delayed, and all schedules';
  return verdictOf(problems, [...new Set(how)].join(', '), why);
}
