/** Programs under a swarm of their own, and the proof that their jobs are in good hands. */
import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Job, Queue } from 'bullmq';
import { noneActive, openQueue, type QueueOptions } from './jobs.js';
import type { TestRedis } from './redis.js';
import { appPath, Swarm, type SwarmOptions } from './swarm.js';
import { waitFor } from './wait.js';

const MODULES = fileURLToPath(new URL('../../../node_modules/', import.meta.url));

/** A directory that is gone with the test. */
export async function temporaryDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'swarm-test-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/**
 * A project of its own, as a user has it.
 *
 * @param files path → `{ app: name of a file of test/apps }`, or a text
 * @param modules name → the package of this repository's node_modules that it stands for
 */
export async function project(
  t: TestContext,
  files: Record<string, { app: string } | string>,
  modules: Record<string, string> = { bullmq: 'bullmq' },
): Promise<string> {
  const directory = await temporaryDirectory(t);
  for (const [path, content] of Object.entries({ 'work.cjs': { app: 'work.cjs' }, ...files })) {
    const file = join(directory, path);
    await mkdir(dirname(file), { recursive: true });
    if (typeof content === 'string') await writeFile(file, content);
    else await cp(appPath(content.app), file);
  }
  await mkdir(join(directory, 'node_modules'));
  for (const [name, stored] of Object.entries(modules)) {
    await symlink(join(MODULES, stored), join(directory, 'node_modules', name));
  }
  return directory;
}

export interface Place {
  /** The registry's. */
  redis: TestRedis;
  /** The program's; the same one unless given. */
  queues?: TestRedis;
}

let swarms = 0;

/** A swarm in a namespace of its own, gone with the test. Its app's queue is `queue`. */
export function startSwarm(
  t: TestContext,
  app: string | null,
  {
    redis,
    queues = redis,
    queue = 'work',
    args = [],
    env = {},
    ...rest
  }: Place & SwarmOptions & { queue?: string },
): Swarm {
  const namespace = `${process.pid}-${++swarms}`;
  const swarm = new Swarm(app, {
    args: ['--redis', redis.url, ...args],
    env: { SWARM_NAMESPACE: namespace, QUEUE_REDIS_PORT: String(queues.port), APP_QUEUE: queue, ...env },
    ...rest,
  });
  t.after(() => swarm.close());
  return swarm;
}

/** A queue that is closed with the test. */
export function useQueue(t: TestContext, redis: TestRedis, name: string, options: QueueOptions = {}): Queue {
  const queue = openQueue(redis, name, options);
  t.after(() => queue.close());
  return queue;
}

/** A job that ends when its gate is opened; see test/apps/work.cjs. */
export class GatedJob {
  private constructor(
    readonly id: string,
    readonly queue: Queue,
    readonly gate: string,
  ) {}

  static async add(t: TestContext, queue: Queue, name = 'gated'): Promise<GatedJob> {
    const gate = join(await temporaryDirectory(t), 'gate');
    const job = await queue.add(name, { gate });
    return new GatedJob(job.id as string, queue, gate);
  }

  async open(): Promise<void> {
    await writeFile(this.gate, '');
  }

  async read(): Promise<Job> {
    return (await this.queue.getJob(this.id)) as Job;
  }

  /** The process that runs it; another than `not`. */
  async runner(not?: number): Promise<number> {
    const { pid } = await this.progress(({ pid }) => pid !== not);
    return pid;
  }

  async progress(accept: (progress: Progress) => boolean = () => true): Promise<Progress> {
    const what = `job ${this.id} of ${this.queue.name} runs`;
    const found = async (): Promise<Progress | null> => {
      const progress = (await this.read()).progress as Progress | number;
      return typeof progress === 'object' && accept(progress) ? progress : null;
    };
    return waitFor(what, found, { timeoutMs: 10_000, everyMs: 5 });
  }

  /** What it returned. */
  async result(): Promise<Result> {
    await waitFor(
      `job ${this.id} of ${this.queue.name} is completed`,
      async () => (await this.read()).isCompleted(),
      {
        timeoutMs: 10_000,
      },
    );
    return (await this.read()).returnvalue as Result;
  }
}

interface Progress {
  pid: number;
  /** The process of a sandboxed processor. */
  sandbox?: number;
}

interface Result {
  pid: number;
  attemptsMade: number;
  [more: string]: unknown;
}

/**
 * Of two children with one job at once each: both get one; one of them is killed; its job runs again, in
 * the other, with no attempt charged.
 */
export async function assertRecovers(
  t: TestContext,
  swarm: Swarm,
  queue: Queue,
): Promise<{ job: GatedJob; killed: Progress; result: Result }> {
  const children = await swarm.ready(2);
  const [job, other] = await Promise.all([GatedJob.add(t, queue), GatedJob.add(t, queue)]);
  const [killed, survivor] = await Promise.all([job.progress(), other.progress()]);
  assert.deepEqual([killed.pid, survivor.pid].sort(), children.sort(), 'each child has a job');
  await other.open();
  assert.deepEqual(await other.result(), { ...(await other.result()), pid: survivor.pid, attemptsMade: 0 });

  process.kill(killed.pid, 'SIGKILL');
  assert.equal(await job.runner(killed.pid), survivor.pid, 'runs again in the other child');
  assert.equal((await job.read()).attemptsMade, 0);
  await job.open();
  const result = await job.result();
  assert.equal(result.pid, survivor.pid);
  assert.equal(result.attemptsMade, 0);
  await noneActive(queue);
  assert.equal(await queue.getFailedCount(), 0);
  return { job, killed, result };
}
