/**
 * BullMQ's markers of all queues of a child, in one blocking call. A queue's marker is a sorted set: its member `0` says
 * that there are jobs, `1` has the time at which the next delayed job is due for a score.
 *
 * The call ends by a key of our own that is waited for as well. Rejected: CLIENT UNBLOCK. It travels on the other
 * connection, so it can come before the call that it is to end, and on a cluster the connection has several ids.
 */
import { readFileSync } from 'node:fs';
import type { Cluster, Redis } from 'ioredis';
import type { Sight } from './known.js';
import type { Mark, Marks } from './signs.js';

/** As BullMQ's own: after so long, whoever waits looks for himself. */
const WAIT_MS = 5_000;
/** The reply is that late, and then once more, so that a loop that was blocked reads it first. */
const LATE_MS = 1_000;
/** What ends a wait is not left behind by a child that dies. */
const WAKE_KEY_TTL_MS = 60_000;

const LOOK = readFileSync(new URL('./look.lua', import.meta.url), 'utf8');

type LookingClient = (Redis | Cluster) & {
  swarmLook(keyCount: number, ...args: (string | number)[]): Promise<number[]>;
};

export interface MarkKeys {
  wait: string;
  prioritized: string;
  delayed: string;
  active: string;
  meta: string;
  marker: string;
}

export interface QueueMarksOptions {
  client: Redis | Cluster;
  /** For the blocking call alone. */
  blocking: Redis | Cluster;
  queues: readonly MarkKeys[];
  /** In the same slot as the queues on a cluster, and nobody else's. */
  wakeKey: string;
  onError(error: unknown): void;
}

export class QueueMarks implements Marks {
  readonly #options: QueueMarksOptions;
  readonly #client: LookingClient;
  readonly #queueOf: ReadonlyMap<string, number>;

  constructor(options: QueueMarksOptions) {
    this.#options = options;
    options.client.defineCommand('swarmLook', { lua: LOOK });
    this.#client = options.client as LookingClient;
    this.#queueOf = new Map(options.queues.map(({ marker }, at) => [marker, at]));
  }

  async wait(queues: readonly number[]): Promise<Mark | null> {
    const { blocking, wakeKey } = this.#options;
    const markers = queues.map((at) => this.#keysOf(at).marker);
    const stop = this.#watch();
    try {
      const popped = await blocking.bzpopmin(wakeKey, ...markers, WAIT_MS / 1_000);
      if (!popped) return null;
      const [key, member, score] = popped as [string, string, string | number];
      const queue = this.#queueOf.get(String(key));
      if (queue === undefined) return null;
      return { queue, dueAtMs: String(member) === '0' ? 0 : Number(score) };
    } finally {
      stop();
    }
  }

  wake(): void {
    const { client, wakeKey, onError } = this.#options;
    client.zadd(wakeKey, 0, '0').catch(onError);
    client.pexpire(wakeKey, WAKE_KEY_TTL_MS).catch(onError);
  }

  /** Once nobody waits any more. */
  async close(): Promise<void> {
    const { client, wakeKey, onError } = this.#options;
    if (client.status === 'ready') await client.unlink(wakeKey).catch(onError);
  }

  putBack({ queue, dueAtMs }: Mark): void {
    const { client, onError } = this.#options;
    const { marker } = this.#keysOf(queue);
    client.zadd(marker, dueAtMs, dueAtMs === 0 ? '0' : '1').catch(onError);
  }

  async look(queues: readonly number[]): Promise<Sight[]> {
    const keys = queues.flatMap((at) => {
      const { wait, prioritized, delayed, active, meta, marker } = this.#keysOf(at);
      return [wait, prioritized, delayed, active, meta, marker];
    });
    const found = await this.#client.swarmLook(keys.length, ...keys, Date.now());
    return queues.map((_, at) => ({
      jobs: Number(found[3 * at]),
      dueAtMs: Number(found[3 * at + 1]),
      isCapped: Number(found[3 * at + 2]) === 1,
    }));
  }

  /** A connection that says nothing for too long is replaced; ioredis then sends the call again. */
  #watch(): () => void {
    let timer = setTimeout(() => {
      timer = setTimeout(() => this.#replace(), LATE_MS);
    }, WAIT_MS + LATE_MS);
    return () => clearTimeout(timer);
  }

  #replace(): void {
    const { blocking } = this.#options;
    const nodes = blocking.isCluster ? (blocking as Cluster).nodes() : [blocking as Redis];
    // one that is already at it would be kept from it
    for (const node of nodes) if (node.status === 'ready') node.stream.destroy();
  }

  #keysOf(queue: number): MarkKeys {
    return this.#options.queues[queue] as MarkKeys;
  }
}
