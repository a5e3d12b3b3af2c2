/** How many jobs of a queue a Worker could fetch now: one script call, which reads and never writes. */
import { type BullWorker, clientOf, runScript } from './bullmq.js';

/**
 * KEYS: meta, wait, prioritized, active, limiter. A limit whose size is in nobody's reach here (of another Worker, of
 * `queue.rateLimit()`) counts as met.
 */
const QUEUE_LOAD = {
  name: 'swarmqueueload',
  lua: `
local meta = redis.call('HMGET', KEYS[1], 'paused', 'concurrency', 'max')
local limited = 0
if redis.call('PTTL', KEYS[5]) > 0 then
  local max = tonumber(meta[3] or ARGV[1])
  if not max or (tonumber(redis.call('GET', KEYS[5])) or max) >= max then
    limited = 1
  end
end
local active = redis.call('LLEN', KEYS[4])
if meta[2] and active >= tonumber(meta[2]) then
  limited = 1
end
if meta[1] then
  limited = 1
end
return { limited, redis.call('LLEN', KEYS[2]) + redis.call('ZCARD', KEYS[3]), active }
`,
};

export interface QueueLoad {
  waiting: number;
  active: number;
  /** It is paused, or at a limit of BullMQ's. */
  isHeldUp: boolean;
}

/** null: the queue is not on Redis. */
export async function readQueueLoad(worker: BullWorker): Promise<QueueLoad | null> {
  const client = await clientOf(worker);
  if (!client) return null;
  const keys = ['meta', 'wait', 'prioritized', 'active', 'limiter'].map((name) => worker.toKey(name));
  const { limiter } = worker.opts as { limiter?: { max?: unknown } };
  const max = typeof limiter?.max === 'number' ? String(limiter.max) : '';
  const [limited, waiting, active] = (await runScript(client, QUEUE_LOAD, keys, [max])) as number[];
  return { waiting: Number(waiting), active: Number(active), isHeldUp: Number(limited) === 1 };
}
