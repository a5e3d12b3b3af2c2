/** One process that takes jobs from some queues, in one of the ways that are compared; others are stopped meanwhile. */
import { Queue } from 'bullmq';
import type { TestRedis } from '../../../test/dist/support/redis.js';
import { type Fleet, startNode, startSwarm } from './fleet.js';
import { cpuMs } from './usage.js';

export type FetcherKind = 'stock' | 'strict' | 'weighted' | 'limited';

export interface FetcherOptions {
  kind: FetcherKind;
  /** Unique. */
  name: string;
  queueCount: number;
  concurrency: number;
}

const WEIGHTS = [4, 2, 1, 1];
/** Of the last queue, where it is limited. */
const MAX_ACTIVE = 2;

export class Fetcher {
  /** Those of the process, not of its master. */
  connections = 0;
  #isStopped = false;

  private constructor(
    readonly kind: FetcherKind,
    readonly queues: readonly Queue[],
    readonly fleet: Fleet,
    readonly redis: TestRedis,
    /** Jobs that it has at once, all queues together. */
    readonly places: number,
  ) {}

  static async start(redis: TestRedis, options: FetcherOptions): Promise<Fetcher> {
    const { kind, name, queueCount, concurrency } = options;
    const names = Array.from({ length: queueCount }, (_, at) => `${name}-${at}`);
    const connection = { host: '127.0.0.1', port: redis.port };
    const queues = names.map((queue) => new Queue(queue, { connection }));
    await Promise.all(queues.map((queue) => queue.waitUntilReady()));
    const before = await clientsOf(redis);
    const fleet = await startFleet(redis, options, names, concurrency);
    const fetcher = new Fetcher(
      kind,
      queues,
      fleet,
      redis,
      kind === 'stock' ? concurrency * queueCount : concurrency,
    );
    const now = (await clientsOf(redis)).filter((client) => !before.some(({ id }) => id === client.id));
    const own = kind === 'stock' ? now : now.filter((client) => client.name.startsWith('swarm-child'));
    fetcher.connections = own.length;
    return fetcher;
  }

  /** CPU time that its one process has used so far, without its master's. */
  get cpuMs(): number {
    return cpuMs(this.fleet.pids);
  }

  stop(): void {
    this.#signal('SIGSTOP');
    this.#isStopped = true;
  }

  resume(): void {
    this.#signal('SIGCONT');
    this.#isStopped = false;
  }

  async close(): Promise<void> {
    if (this.#isStopped) this.resume();
    await this.fleet.close();
    await Promise.all(this.queues.map((queue) => queue.close()));
  }

  #signal(name: NodeJS.Signals): void {
    const { masterPid, pids } = this.fleet;
    for (const pid of masterPid === null ? pids : [masterPid, ...pids]) process.kill(pid, name);
  }
}

async function startFleet(
  redis: TestRedis,
  { kind, name }: FetcherOptions,
  names: readonly string[],
  concurrency: number,
): Promise<Fleet> {
  const env = {
    QUEUES: names.join(','),
    QUEUE_REDIS_PORT: String(redis.port),
    CONCURRENCY: String(concurrency),
    ...(kind === 'limited' ? { MAX_ACTIVE: String(MAX_ACTIVE) } : {}),
  };
  const common = { count: 1, env, nodeArguments: ['--expose-gc'] };
  if (kind === 'stock') return startNode({ ...common, app: 'fetch-stock.mjs' });
  const weights =
    kind === 'weighted' ? names.flatMap((queue, at) => ['-q', `${queue},${WEIGHTS[at] ?? 1}`]) : [];
  const args = ['--namespace', name, '-c', String(concurrency), ...weights];
  return startSwarm({ ...common, app: 'fetch-swarm.mjs', args }, redis.url);
}

async function clientsOf({ client }: TestRedis): Promise<{ id: string; name: string }[]> {
  const text = String(await client.client('LIST'));
  return text.split('\n').flatMap((line) => {
    const id = /^id=(\d+)/.exec(line)?.[1];
    return id === undefined ? [] : [{ id, name: /\bname=(\S*)/.exec(line)?.[1] ?? '' }];
  });
}
