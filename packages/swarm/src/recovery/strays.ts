/**
 * Gives back jobs that are active under a token of ours although nobody runs them and nobody renews their
 * locks; BullMQ would find them only when those have run out, and charge them with it. There are two kinds:
 * a job that this child fetched without knowing, because the reply was lost with the connection, and ioredis
 * sent the fetch again after it reconnected; and one whose end Redis has refused (READONLY in a fail-over, no
 * memory left), which BullMQ does not try again.
 *
 * Looked for after a reconnect and after an end that was not heard of, and at no other time. A job whose reply is still on its way looks the same,
 * so only what both of two looks find is a stray, and it is disowned before it is moved: should it come
 * after all, it does not run here.
 */
import { type BullClient, type BullWorker, clientOf } from '../child/bullmq.js';
import type { Workers } from '../child/workers.js';
import type { JobRef } from '../protocol.js';
import { findHeldJobs } from './held-jobs.js';
import { jobOf, moveToWait, wake } from './move-job.js';

const FIRST_LOOK_MS = 500;
const SECOND_LOOK_MS = 1_500;

/** While Redis refuses what gives them back. */
const RETRY_MS = 2_000;

interface Link {
  workers: Set<BullWorker>;
  timers: NodeJS.Timeout[];
  /** Something happened since the first look of those that are due. */
  again: boolean;
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

  /** A run came to its end, and its job may still be active. */
  suspect(worker: BullWorker): void {
    for (const link of this.#links.values()) {
      if (!link.workers.has(worker)) continue;
      if (link.timers.length === 0) this.#lookSoon(link);
      else link.again = true;
    }
  }

  #watchClient(client: BullClient, worker: BullWorker): void {
    const known = this.#links.get(client);
    const link = known ?? { workers: new Set(), timers: [], again: false };
    link.workers.add(worker);
    worker.on('closed', () => {
      link.workers.delete(worker);
      if (link.workers.size > 0) return;
      for (const timer of link.timers) clearTimeout(timer);
      this.#links.delete(client);
    });
    if (known) return;
    this.#links.set(client, link);
    // it is ready now: the next time is after a reconnect
    client.on('ready', () => {
      if (link.workers.size > 0) this.#lookSoon(link);
    });
  }

  #lookSoon(link: Link, inMs = 0): void {
    for (const timer of link.timers) clearTimeout(timer);
    link.again = false;
    let seen: ReadonlySet<string> = new Set();
    const [first, second] = [
      async () => {
        seen = new Set((await this.#find(link)).map(({ key }) => key));
      },
      async () => {
        const strays = await this.#find(link);
        await this.#giveBack(strays.filter(({ key }) => seen.has(key)));
      },
    ];
    const ended = (refused: boolean): void => {
      // a reconnect has begun another round
      if (link.timers !== timers) return;
      link.timers = [];
      if (refused) this.#lookSoon(link, RETRY_MS);
      else if (link.again) this.#lookSoon(link);
    };
    const timers = [
      // what it does not find, the second does not give back
      setTimeout(() => void first().catch(() => {}), inMs + FIRST_LOOK_MS),
      setTimeout(() => {
        second().then(
          () => ended(false),
          () => ended(true),
        );
      }, inMs + SECOND_LOOK_MS),
    ];
    for (const timer of timers) timer.unref();
    link.timers = timers;
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
