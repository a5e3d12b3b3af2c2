/**
 * Gives back jobs that this child fetched without knowing: the reply was lost with the connection, and
 * ioredis sent the fetch again after it reconnected. Such a job is active under a token of ours, nobody
 * runs it and nobody renews its lock; BullMQ would find it only when that has run out.
 *
 * Looked for after a reconnect and at no other time. A job whose reply is still on its way looks the same,
 * so only what both of two looks find is a stray, and it is disowned before it is moved: should it come
 * after all, it does not run here.
 */
import { type BullClient, type BullWorker, clientOf } from '../child/bullmq.js';
import type { Workers } from '../child/workers.js';
import type { JobRef } from '../protocol.js';
import { findHeldJobs } from './held-jobs.js';
import { jobOf, moveToWait, wake } from './move-job.js';

const LOOKS_MS = [500, 1_500];

interface Link {
  workers: Set<BullWorker>;
  timers: NodeJS.Timeout[];
}

export class Strays {
  readonly #workers: Workers;
  readonly #onGivenBack: (jobs: JobRef[]) => void;
  /** Workers may share a client, and each listener on it costs. */
  readonly #links = new Map<BullClient, Link>();

  constructor(workers: Workers, onGivenBack: (jobs: JobRef[]) => void) {
    this.#workers = workers;
    this.#onGivenBack = onGivenBack;
  }

  /** From its first connection on. */
  watch(worker: BullWorker): void {
    clientOf(worker).then(
      (client) => {
        if (client) this.#watchClient(client, worker);
      },
      () => {
        // a Worker that is closed before it ever had a connection has fetched nothing
      },
    );
  }

  #watchClient(client: BullClient, worker: BullWorker): void {
    const known = this.#links.get(client);
    const link = known ?? { workers: new Set(), timers: [] };
    link.workers.add(worker);
    worker.on('closed', () => link.workers.delete(worker));
    if (known) return;
    this.#links.set(client, link);
    // it is ready now: the next time is after a reconnect
    client.on('ready', () => this.#onReconnected(link));
  }

  #onReconnected(link: Link): void {
    for (const timer of link.timers) clearTimeout(timer);
    let seen: ReadonlySet<string> | null = null;
    link.timers = LOOKS_MS.map((afterMs, at) => {
      const look = async (): Promise<void> => {
        const strays = await this.#find(link);
        if (at === 0) seen = new Set(strays.map(({ key }) => key));
        else await this.#giveBack(strays.filter(({ key }) => seen?.has(key)));
      };
      // no Redis again: what there is to find is found after the next reconnect
      return setTimeout(() => void look().catch(() => {}), afterMs).unref();
    });
  }

  async #find({ workers }: Link): Promise<Stray[]> {
    const found = await Promise.all(
      [...workers].map(async (worker) => {
        const jobs = await findHeldJobs(worker, { tokenPrefixes: [`${worker.id}:`] });
        return jobs.map(({ id, token }) => ({ worker, id, token, key: `${worker.toKey(id)} ${token}` }));
      }),
    );
    return found.flat().filter(({ worker, id }) => !this.#workers.isHeld(worker, id));
  }

  async #giveBack(strays: readonly Stray[]): Promise<void> {
    // before anything is awaited: from here on none of them begins
    for (const { worker, id, token } of strays) this.#workers.disown(worker, id, token);
    const moved = await Promise.all(
      strays.map(({ worker, id, token }) => moveToWait(jobOf(worker, id), token)),
    );
    const back = strays.filter((_, at) => moved[at]);
    for (const worker of new Set(back.map((stray) => stray.worker))) await wake(worker);
    if (back.length > 0) this.#onGivenBack(back.map(({ worker, id }) => ({ queue: worker.name, id })));
  }
}

interface Stray {
  worker: BullWorker;
  id: string;
  token: string;
  key: string;
}
