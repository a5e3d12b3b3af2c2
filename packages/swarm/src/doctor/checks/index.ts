/** All checks, in the order in which they are reported: what others depend on comes first. */
import type { Examiner } from '../check.js';
import { children } from './children.js';
import { clocks } from './clocks.js';
import { databasePool } from './database-pool.js';
import { deaths } from './deaths.js';
import { dumps } from './dumps.js';
import { duplicatePackages } from './duplicate-packages.js';
import { heapLimits } from './heap-limits.js';
import { jemalloc } from './jemalloc.js';
import { jobAttempts } from './job-attempts.js';
import { jobLocks } from './job-locks.js';
import { jobsStalled } from './jobs-stalled.js';
import { lingering } from './lingering.js';
import { mallocArenas } from './malloc-arenas.js';
import { memoryLimits } from './memory-limits.js';
import { namespaces } from './namespaces.js';
import { nodeVersion } from './node-version.js';
import { oomGroup } from './oom-group.js';
import { openFiles } from './open-files.js';
import { overcommit } from './overcommit.js';
import { processLimits } from './process-limits.js';
import { queuesTaken } from './queues-taken.js';
import { redisClients } from './redis-clients.js';
import { redisConnection } from './redis-connection.js';
import { redisEviction } from './redis-eviction.js';
import { redisLatency } from './redis-latency.js';
import { redisMemory } from './redis-memory.js';
import { redisPersistence } from './redis-persistence.js';
import { redisVersion } from './redis-version.js';
import { registryLingering } from './registry-lingering.js';
import { registryStale } from './registry-stale.js';
import { serviceUnit } from './service-unit.js';
import { startedBy } from './started-by.js';
import { tags } from './tags.js';

export const CHECKS: readonly Examiner[] = [
  redisConnection,
  redisVersion,
  redisEviction,
  redisPersistence,
  redisLatency,
  redisMemory,
  redisClients,
  queuesTaken,
  jobsStalled,
  jobAttempts,
  jobLocks,
  namespaces,
  children,
  tags,
  registryStale,
  registryLingering,
  deaths,
  dumps,
  lingering,
  clocks,
  memoryLimits,
  heapLimits,
  oomGroup,
  serviceUnit,
  startedBy,
  openFiles,
  processLimits,
  overcommit,
  mallocArenas,
  jemalloc,
  nodeVersion,
  duplicatePackages,
  databasePool,
];
