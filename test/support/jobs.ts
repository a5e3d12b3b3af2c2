/** Jobs from the outside: what a test adds, and what Redis says became of it. */
import { Queue } from 'bullmq';
import { Queue as Queue5 } from 'bullmq5';
import type { TestRedis } from './redis.js';
import { waitFor } from './wait.js';

export interface QueueOptions {
  prefix?: string;
  /** Which BullMQ adds and reads; default 6. */
  major?: 5 | 6;
}

/** A queue of the tests' own; close it at the end. */
export function openQueue(
  redis: TestRedis,
  name: string,
  { prefix = 'bull', major = 6 }: QueueOptions = {},
): Queue {
  const connection = { host: '127.0.0.1', port: redis.port };
  if (major === 6) return new Queue(name, { connection, prefix });
  // the two majors agree on everything that tests use of a queue
  return new Queue5(name, { connection, prefix }) as unknown as Queue;
}

/** The lock token of a job; null: nobody runs it. */
export async function tokenOf(redis: TestRedis, queue: Queue, jobId: string): Promise<string | null> {
  return redis.client.get(`${queue.toKey(jobId)}:lock`);
}

/** Waits until somebody (other than the holder of `notToken`) runs the job. */
export async function running(
  redis: TestRedis,
  queue: Queue,
  jobId: string,
  notToken?: string,
): Promise<string> {
  return waitFor(
    `job ${jobId} runs`,
    async () => {
      const token = await tokenOf(redis, queue, jobId);
      return token !== null && token !== notToken && !token.startsWith('swarm-release:') ? token : null;
    },
    { everyMs: 5 },
  );
}

/** Waits until so many jobs are completed. */
export async function completed(queue: Queue, count: number, timeoutMs = 60_000): Promise<void> {
  await waitFor(
    `${count} jobs of ${queue.name} are completed`,
    async () => (await queue.getCompletedCount()) >= count,
    {
      timeoutMs,
    },
  );
}

/** No job is in `active`, and none is lost: what the tests of every fault end with. */
export async function noneActive(queue: Queue): Promise<void> {
  await waitFor(`no job of ${queue.name} is active`, async () => (await queue.getActiveCount()) === 0);
}
