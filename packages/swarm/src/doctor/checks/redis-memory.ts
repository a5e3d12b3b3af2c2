/** Is there room for more jobs, and is memory put to use? */
import { formatBytes } from '../../units.js';
import { defineCheck, type Problem, type Verdict, verdictOf } from '../check.js';
import { at, numberOf, type Server } from '../servers.js';

export interface MemoryFacts {
  servers: readonly ServerMemory[];
}

export interface ServerMemory {
  at: string;
  usedBytes: number;
  /** 0: no limit. */
  maxmemoryBytes: number;
  /** Of its machine or container; null: not told. */
  systemBytes: number | null;
  rssBytes: number | null;
  /** RSS by what is in use. */
  fragmentation: number | null;
}

const NEARLY_FULL = 0.75;
const FULL = 0.95;
/** Below it, the ratio says nothing: a fresh Redis takes several MB whatever it holds. */
const NOTABLE_BYTES = 100e6;
const FRAGMENTED = 1.8;
const SWAPPED = 0.8;

export const redisMemory = defineCheck<MemoryFacts>({
  name: 'redis-memory',
  section: 'Redis',
  async gather(exam) {
    const servers = await exam.servers();
    return { servers: servers.map((server) => memoryOf(server, at(server, servers))) };
  },
  judge: judgeMemory,
});

function memoryOf(server: Server, at: string): ServerMemory {
  return {
    at,
    usedBytes: numberOf(server, 'used_memory') ?? 0,
    maxmemoryBytes: numberOf(server, 'maxmemory') ?? 0,
    systemBytes: numberOf(server, 'total_system_memory') || null,
    rssBytes: numberOf(server, 'used_memory_rss'),
    fragmentation: numberOf(server, 'mem_fragmentation_ratio'),
  };
}

export function judgeMemory({ servers }: MemoryFacts): Verdict {
  const used = servers.reduce((sum, { usedBytes }) => sum + usedBytes, 0);
  const limits = servers.map(({ maxmemoryBytes }) => maxmemoryBytes).filter((bytes) => bytes > 0);
  const limit =
    limits.length > 0
      ? ` of ${formatBytes(limits.reduce((sum, bytes) => sum + bytes, 0))}`
      : ', no maxmemory';
  const why =
    'A Redis that is full refuses new jobs (OOM command not allowed), and one that is larger than its machine is killed or swaps';
  return verdictOf(servers.flatMap(problemsOf), `${formatBytes(used)}${limit}`, why);
}

function problemsOf({
  at,
  usedBytes,
  maxmemoryBytes,
  systemBytes,
  rssBytes,
  fragmentation,
}: ServerMemory): Problem[] {
  const problems: Problem[] = [];
  const room = maxmemoryBytes > 0 ? maxmemoryBytes : systemBytes;
  const share = room === null ? 0 : usedBytes / room;
  if (room !== null && share > NEARLY_FULL) {
    const of = maxmemoryBytes > 0 ? 'its maxmemory' : 'the memory of its machine';
    problems.push({
      status: share > FULL ? 'fail' : 'warn',
      found: `Redis${at} uses ${formatBytes(usedBytes)}, ${Math.round(share * 100)} % of ${of} (${formatBytes(room)})`,
      cure: 'keep fewer finished jobs (removeOnComplete, removeOnFail with a count or an age) and smaller data in them; then give Redis more memory',
    });
  }
  if (fragmentation === null || usedBytes < NOTABLE_BYTES) return problems;
  if (fragmentation > FRAGMENTED) {
    problems.push({
      status: 'warn',
      found: `Redis${at} holds ${formatBytes(usedBytes)} in ${formatBytes(rssBytes ?? 0)} of memory: it is fragmented (${fragmentation})`,
      cure: 'CONFIG SET activedefrag yes (where its build has it), or restart it at a quiet time',
    });
  }
  if (fragmentation < SWAPPED) {
    problems.push({
      status: 'warn',
      found: `Redis${at} holds ${formatBytes(usedBytes)}, and only ${formatBytes(rssBytes ?? 0)} of it in memory: the rest is swapped out`,
      cure: 'give its machine more memory, or turn swap off there: each swapped page is a wait for all clients',
    });
  }
  return problems;
}
