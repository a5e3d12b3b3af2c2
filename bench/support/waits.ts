/** How long jobs wait until they begin, as they say themselves. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Job, Queue } from 'bullmq';
import { waitFor } from '../../../test/dist/support/wait.js';

/** Jobs one after the other, each on an idle process. Resolves to how long each has waited. */
export async function idleWaits(queues: readonly Queue[], count: number): Promise<number[]> {
  const waits: number[] = [];
  for (let at = 0; at < count; at += 1) {
    const queue = queues[at % queues.length] as Queue;
    const addedAtMs = performance.timeOrigin + performance.now();
    const job = await queue.add('job', { tells: true });
    waits.push((await beginOf(queue, job)) - addedAtMs);
    // until whoever runs it waits again
    await delay(5 + Math.random() * 5);
  }
  return waits;
}

/** How late jobs begin that were delayed. */
export async function delayedLateness(queues: readonly Queue[], count: number): Promise<number[]> {
  const jobs: [Queue, Job][] = [];
  for (let at = 0; at < count; at += 1) {
    const queue = queues[at % queues.length] as Queue;
    jobs.push([queue, await queue.add('job', { tells: true }, { delay: 300 + at * 23 })]);
  }
  const late: number[] = [];
  for (const [queue, job] of jobs) {
    late.push((await beginOf(queue, job)) - job.timestamp - (job.opts.delay ?? 0));
  }
  return late;
}

/** Short jobs at a steady pace on some queues. Resolves to how long each has waited. */
export async function probeWaits(
  queues: readonly Queue[],
  { count, everyMs }: { count: number; everyMs: number },
): Promise<number[]> {
  const probes: Promise<number>[] = [];
  for (let at = 0; at < count; at += 1) {
    const queue = queues[at % queues.length] as Queue;
    const addedAtMs = performance.timeOrigin + performance.now();
    probes.push(
      queue.add('job', { tells: true }).then(async (job) => (await beginOf(queue, job)) - addedAtMs),
    );
    await delay(everyMs * (0.5 + Math.random()));
  }
  return Promise.all(probes);
}

/** Epoch ms, from the machine's one clock. */
async function beginOf(queue: Queue, { id }: Job): Promise<number> {
  const what = `job ${id} of ${queue.name} is done`;
  const done = await waitFor(what, async () => (await queue.getJob(id as string))?.returnvalue as number, {
    everyMs: 3,
  });
  return Number(done);
}
