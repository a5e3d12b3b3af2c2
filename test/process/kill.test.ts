/** How long a job waits after its process was killed, and what the kill costs it: nothing. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Queue } from 'bullmq';
import { noneActive } from '../support/jobs.js';
import { GatedJob, startSwarm, useQueue } from '../support/programs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { waitFor } from '../support/wait.js';

const KILLS = 20;
/** More than two, so that the next kill need not wait until a killed one is back. */
const CHILDREN = 4;

let redis: TestRedis;

before(async () => {
  redis = await startRedis();
});

after(() => redis.close());

interface QueueEvent {
  event: string;
  jobId: string;
  prev?: string;
}

/** All that happened to a queue's jobs, from BullMQ's own event stream. */
async function events(queue: Queue): Promise<QueueEvent[]> {
  const entries = await redis.client.xrange(queue.toKey('events'), '-', '+');
  return entries.map(([, fields]) => {
    const pairs = fields.flatMap((name, at) => (at % 2 === 0 ? [[name, fields[at + 1]]] : []));
    return Object.fromEntries(pairs) as unknown as QueueEvent;
  });
}

describe('a job whose process is killed', () => {
  it('soon runs elsewhere, released once and charged nothing', async (t) => {
    const queue = useQueue(t, redis, 'killed');
    const swarm = startSwarm(t, 'main.cjs', { redis, queue: 'killed', args: ['--count', String(CHILDREN)] });
    await swarm.ready(CHILDREN);
    const delaysMs: number[] = [];
    for (let kill = 0; kill < KILLS; kill++) {
      // the rest may be on their way back
      await waitFor('two children are up', () => swarm.children.size >= 2);
      const job = await GatedJob.add(t, queue);
      const pid = await job.runner();
      const killedAtMs = Date.now();
      process.kill(pid, 'SIGKILL');
      await job.runner(pid);
      const again = await job.read();
      delaysMs.push((again.processedOn as number) - killedAtMs);
      assert.deepEqual([again.attemptsMade, again.attemptsStarted, again.stalledCounter], [0, 2, 0]);
      await job.open();
      assert.equal((await job.result()).attemptsMade, 0);

      const ofJob = (await events(queue)).filter(({ jobId }) => jobId === job.id);
      assert.deepEqual(
        ofJob.map(({ event, prev }) => (event === 'waiting' && prev ? `${event} from ${prev}` : event)),
        ['added', 'waiting', 'active', 'progress', 'waiting from active', 'active', 'progress', 'completed'],
      );
      await swarm.line('released', { jobs: `killed/${job.id}` });
      await waitFor(
        'the exit is seen',
        () => !swarm.children.size || ![...swarm.children.values()].includes(pid),
      );
    }
    await noneActive(queue);
    assert.equal(await queue.getCompletedCount(), KILLS);
    assert.equal(swarm.all('released').length, KILLS);

    delaysMs.sort((a, b) => a - b);
    const medianMs = delaysMs[KILLS / 2] as number;
    t.diagnostic(
      `kill → running elsewhere, ${KILLS} kills: median ${medianMs} ms, worst ${delaysMs.at(-1)} ms`,
    );
    // a goal of 100 ms on an idle machine; without swarm, BullMQ takes 43 to 60 s
    assert.ok(medianMs < 1_000, `${delaysMs}`);
  });
});
