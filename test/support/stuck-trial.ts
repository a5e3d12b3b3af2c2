/** A trial whose jobs hang, and what dumps and deaths say of it; see test/apps/stuck-worker.mjs. */
import type { TestContext } from 'node:test';
import { Registry } from 'bullmq-swarm/registry';
import type { TestRedis } from './redis.js';
import type { Swarm, SwarmOptions } from './swarm.js';
import { Trial, type TrialOptions } from './trial.js';
import { waitFor } from './wait.js';

export interface Frame {
  function: string;
  file: string | null;
  line: number | null;
  owner: string;
  isAsync: boolean;
}

/** As much of a dump as tests look at. */
export interface Dump {
  id: string;
  pid: number;
  kind: string;
  trigger: string;
  blockedMs: number;
  stack: Frame[];
  tops: Frame[];
  isMoving: boolean | null;
  isAfterBlock: boolean;
  job: { queue: string; id: string; name: string; attempt: number | null } | null;
  jobs: { id: string }[];
  native: { state: string; syscall: string | null; target: string | null; command: string | null } | null;
  processes: { command: string }[];
  io: { type: string; what: string; phase: string; peer: string | null; job: { id: string } | null }[];
  notes: string[];
}

export interface Death {
  pid: number;
  cause: string;
  evidence: { summary: string };
  jobs: { id: string; outcome: string; blame: { exact: number; shared: number } | null }[];
  dump: Pick<Dump, 'id' | 'kind' | 'stack' | 'job'> | null;
}

const PATIENT = { timeoutMs: 60_000, everyMs: 100 };

/** Short: what is dumped after seconds in production is dumped after one here. */
export const SHORT = ['--stuck-after', '1s', '--stuck-kill-after', '3s'];

export class StuckTrial extends Trial {
  readonly #registry: Registry;

  constructor(t: TestContext, redis: TestRedis, options: TrialOptions = {}) {
    super(t, redis, options);
    this.#registry = new Registry({ redis: redis.url, namespace: this.namespace });
    t.after(() => this.#registry.close());
  }

  startStuck(options: SwarmOptions = {}, args: readonly string[] = SHORT): Swarm {
    return this.start(1, { ...options, app: 'stuck-worker.mjs', args: [...args, ...(options.args ?? [])] });
  }

  /** Newest first. */
  async dumps(): Promise<Dump[]> {
    return (await this.#registry.dumps({ limit: 1_000 })) as Dump[];
  }

  /** The first that is stored of a process. */
  async dumpOf(pid: number, is: (dump: Dump) => boolean = () => true): Promise<Dump> {
    return waitFor(
      `a dump of ${pid} is stored`,
      async () => (await this.dumps()).filter((dump) => dump.pid === pid && is(dump)).at(-1),
      PATIENT,
    ).catch((error: unknown) => this.#fail(error));
  }

  /** As `swarm jobs` and `swarm ps` show it. */
  async showsBusy(pid: number, id: string): Promise<void> {
    await waitFor(
      `job ${id} is shown in ${pid}, which is busy`,
      async () => {
        const jobs = await this.#registry.jobs();
        const children = await this.#registry.children();
        const busy = children.find((child) => child.pid === pid)?.busy;
        return busy === 1 && jobs.some((job) => job.id === id && job.pid === pid);
      },
      PATIENT,
    );
  }

  async deathOf(pid: number): Promise<Death> {
    return waitFor(
      `the death of ${pid} is on record`,
      async () => (await this.#registry.deaths({ all: true })).find((death) => death.pid === pid) as Death,
      PATIENT,
    ).catch((error: unknown) => this.#fail(error));
  }

  #fail(error: unknown): never {
    throw new Error(`${(error as Error).message}\n${this.masters.map((swarm) => swarm.tail()).join('\n')}`);
  }
}
