/** Where the jobs are: REDIS_URL, else swarm's own embedded Redis, whose URL `swarm redis` prints. */
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

export function redisUrl() {
  if (process.env.REDIS_URL) return process.env.REDIS_URL;
  const manifest = createRequire(import.meta.url).resolve('bullmq-swarm/package.json');
  const swarm = join(dirname(manifest), 'bin/swarm.js');
  return execFileSync(process.execPath, [swarm, 'redis'], { encoding: 'utf8' }).trim();
}
