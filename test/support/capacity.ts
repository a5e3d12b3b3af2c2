/** How many children were at work at the same time, by the master's log. */
import type { Swarm } from './swarm.js';

/** From the moment on when all were ready: the fewest that were ready and not told to leave. */
export function fewestAtWork(swarm: Swarm, count: number): number {
  const working = new Set<number>();
  let fewest = Number.POSITIVE_INFINITY;
  for (const { message, pid, stream } of swarm.lines) {
    if (stream || pid === undefined) continue;
    if (message === 'ready') working.add(pid);
    if (message === 'draining' || message === 'exited') working.delete(pid);
    if (working.size >= count || fewest < Number.POSITIVE_INFINITY) fewest = Math.min(fewest, working.size);
  }
  return fewest;
}
