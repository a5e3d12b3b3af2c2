/** One test's own queue, namespace and masters on the Redis that its file shares; all of it ends with the test. */
import { randomBytes } from 'node:crypto';
import type { TestContext } from 'node:test';
import type { JobsOptions, Queue } from 'bullmq';
import { type Accounts, nothingLost } from './accounts.js';
import { openQueue } from './jobs.js';
import type { TestRedis } from './redis.js';
import { type CommandResult, Swarm, type SwarmOptions, swarmCommand } from './swarm.js';
import { type WaitOptions, waitFor } from './wait.js';

export interface TrialOptions {
  queueName?: string;
  /** Which BullMQ adds the jobs; default 6. */
  major?: 5 | 6;
}

export class Trial {
  readonly namespace: string;
  readonly queue: Queue;
  readonly masters: Swarm[] = [];
  /** Ids of all jobs that were added. */
  readonly ids: string[] = [];

  constructor(
    t: TestContext,
    readonly redis: TestRedis,
    { queueName = `q${randomBytes(4).toString('hex')}`, major = 6 }: TrialOptions = {},
  ) {
    this.namespace = `ns-${randomBytes(4).toString('hex')}`;
    this.queue = openQueue(redis, queueName, { major });
    this.queue.on('error', () => {
      // Redis is taken away by some tests
    });
    t.after(async () => {
      await Promise.all(this.masters.map((swarm) => swarm.close()));
      await this.queue.close();
    });
  }

  /**
   * Starts a master of this trial's queue and namespace; `app` defaults to the faulty Worker of test/apps.
   * @param count null: a config file says how many
   */
  start(count: number | null, options: SwarmOptions & { app?: string } = {}): Swarm {
    const { app = 'fault-worker.mjs', args = [], env = {}, ...rest } = options;
    const swarm = new Swarm(app, {
      ...rest,
      args: [
        ...(count === null ? [] : ['--count', String(count)]),
        '--redis',
        this.redis.url,
        '--namespace',
        this.namespace,
        ...args,
      ],
      env: { QUEUE_REDIS_PORT: String(this.redis.port), QUEUE_NAME: this.queue.name, ...env },
    });
    this.masters.push(swarm);
    return swarm;
  }

  /** A `swarm` command about this trial's namespace. */
  command(...words: string[]): Promise<CommandResult> {
    return swarmCommand([...words, '--redis', this.redis.url, '--namespace', this.namespace]);
  }

  async add(data: object, options: JobsOptions = {}): Promise<string> {
    const { id } = await this.queue.add('job', data, options);
    this.ids.push(id as string);
    return id as string;
  }

  async addMany(count: number, data: object): Promise<string[]> {
    const jobs = await this.queue.addBulk(Array.from({ length: count }, () => ({ name: 'job', data })));
    const ids = jobs.map(({ id }) => id as string);
    this.ids.push(...ids);
    return ids;
  }

  /** Waits until a child says that it runs the job for the n-th time (from 1), over all masters; who, and when. */
  async runs(
    id: string,
    nth = 1,
    options: WaitOptions = {},
  ): Promise<{ pid: number; slot: number; atMs: number }> {
    const starts = () => this.masters.flatMap((swarm) => swarm.all(`runs ${id}`));
    const line = await waitFor(`job ${id} runs for the ${nth}. time`, () => starts()[nth - 1], {
      everyMs: 2,
      ...options,
    });
    return { pid: line.pid as number, slot: line.slot as number, atMs: Date.parse(line.time) };
  }

  /** What BullMQ has counted of a job. */
  async counters(id: string): Promise<{ attempts: number; starts: number; stalled: number }> {
    const [atm, ats, stc] = await this.redis.client.hmget(this.queue.toKey(id), 'atm', 'ats', 'stc');
    return { attempts: Number(atm), starts: Number(ats), stalled: Number(stc) };
  }

  /**
   * Asserts that nothing was lost.
   * @param goesOn how many children each master that still runs has
   */
  async nothingLost(
    goesOn: ReadonlyMap<Swarm, number>,
    options: Pick<Accounts, 'stderr' | 'timeoutMs'> = {},
  ): Promise<void> {
    await nothingLost({
      redis: this.redis,
      namespace: this.namespace,
      masters: this.masters.map((swarm) => ({ swarm, children: goesOn.get(swarm) ?? 0 })),
      jobs: [{ queue: this.queue, ids: this.ids }],
      ...options,
    });
  }
}
