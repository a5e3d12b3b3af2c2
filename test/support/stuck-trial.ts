/** A trial whose jobs hang, and what dumps and deaths say of it; see test/apps/stuck-worker.mjs. */
import assert from 'node:assert/strict';
import type { Swarm, SwarmOptions } from './swarm.js';
import { Trial } from './trial.js';
import { waitFor } from './wait.js';

export interface Frame {
  function: string;
  file: string | null;
  line: number | null;
  owner: string;
  isAsync: boolean;
}

/** As much of `swarm dumps --json` as tests look at. */
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

/** Short: what is dumped after seconds in production is dumped after one here. */
export const SHORT = ['--stuck-after', '1s', '--stuck-kill-after', '3s'];

export class StuckTrial extends Trial {
  startStuck(options: SwarmOptions = {}, args: readonly string[] = SHORT): Swarm {
    return this.start(1, { ...options, app: 'stuck-worker.mjs', args: [...args, ...(options.args ?? [])] });
  }

  dumps(): Promise<Dump[]> {
    return this.#list<Dump>('dumps');
  }

  /** The first that is stored of a process. */
  async dumpOf(pid: number, is: (dump: Dump) => boolean = () => true): Promise<Dump> {
    return waitFor(
      `a dump of ${pid} is stored`,
      this.#eachNew('dumps', async () => {
        return (await this.dumps()).filter((dump) => dump.pid === pid && is(dump)).at(-1);
      }),
      { timeoutMs: 30_000, everyMs: 50 },
    ).catch((error: unknown) => this.#fail(error));
  }

  async deathOf(pid: number): Promise<Death> {
    return waitFor(
      `the death of ${pid} is on record`,
      this.#eachNew('deaths', async () => {
        return (await this.#list<Death>('deaths', '--all')).find((death) => death.pid === pid);
      }),
      { timeoutMs: 30_000, everyMs: 50 },
    ).catch((error: unknown) => this.#fail(error));
  }

  /** Asks only when the stream has grown: a command is a process, and would keep a core busy by itself. */
  #eachNew<T>(stream: 'dumps' | 'deaths', ask: () => Promise<T | undefined>): () => Promise<T | undefined> {
    let lastId = '';
    return async () => {
      const [newest] = await this.redis.client.xrevrange(
        `swarm:{${this.namespace}}:${stream}`,
        '+',
        '-',
        'COUNT',
        1,
      );
      if (!newest || newest[0] === lastId) return undefined;
      [lastId] = newest;
      return ask();
    };
  }

  async #list<T>(command: string, ...words: string[]): Promise<T[]> {
    const { code, stdout, stderr } = await this.command(command, '--json', ...words);
    assert.deepEqual([code, stderr], [0, '']);
    return JSON.parse(stdout) as T[];
  }

  #fail(error: unknown): never {
    throw new Error(`${(error as Error).message}\n${this.masters.map((swarm) => swarm.tail()).join('\n')}`);
  }
}
