/** When and where jobs start, as the program itself says on a Redis channel. */
import { Redis } from 'ioredis';
import type { TestRedis } from '../../../test/dist/support/redis.js';
import { waitFor } from '../../../test/dist/support/wait.js';

export interface Sighting {
  pid: number;
  /** Monotonic, when the message arrived here. */
  atMs: number;
}

export interface Sightings {
  /** Waits for the n-th start, from 1, of this job. */
  start(queue: string, id: string, nth: number, timeoutMs?: number): Promise<Sighting>;
  close(): void;
}

export async function openSightings({ port }: TestRedis): Promise<Sightings> {
  const seen = new Map<string, Sighting[]>();
  const client = new Redis({ host: '127.0.0.1', port, maxRetriesPerRequest: null });
  client.on('message', (_channel: string, text: string) => {
    const atMs = performance.now();
    const { queue, id, pid } = JSON.parse(text) as { queue: string; id: string; pid: number };
    const key = keyOf(queue, id);
    seen.set(key, [...(seen.get(key) ?? []), { pid, atMs }]);
  });
  await client.subscribe('started');
  return {
    start: (queue, id, nth, timeoutMs = 20_000) => {
      const what = `job ${id} of queue ${queue} starts for the ${nth}. time`;
      return waitFor(what, () => seen.get(keyOf(queue, id))?.[nth - 1], { timeoutMs, everyMs: 1 });
    },
    close: () => client.disconnect(),
  };
}

function keyOf(queue: string, id: string): string {
  return `${queue}/${id}`;
}
