/** What a dead child may have held, grouped by queue. Pure. */
import type { ActiveJob, Holding, WorkerInfo } from '../protocol.js';

/**
 * A reported job names its queue but not its prefix or Redis, so it is looked for in every queue of that
 * name that the child worked for: a release takes only what is active and has no other owner.
 */
export function holdingsOf(workers: readonly WorkerInfo[], jobs: readonly ActiveJob[]): Holding[] {
  const byQueue = new Map<string, Holding>();
  for (const { queue, prefix, redisId, tokenPrefix } of workers) {
    const key = JSON.stringify([redisId, prefix, queue]);
    const holding = byQueue.get(key) ?? { queue, prefix, redisId, tokenPrefixes: [], jobIds: [] };
    if (!holding.tokenPrefixes.includes(tokenPrefix)) holding.tokenPrefixes.push(tokenPrefix);
    byQueue.set(key, holding);
  }
  for (const holding of byQueue.values()) {
    for (const job of jobs) if (job.queue === holding.queue) holding.jobIds.push(job.id);
  }
  return [...byQueue.values()];
}
