/**
 * A state directory of a test's own, in which an embedded Redis lives. That outlives its master by design,
 * so whatever became of the test, it is looked for and ended here.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { isAlive } from './processes.js';
import { Swarm, type SwarmOptions } from './swarm.js';
import { waitFor } from './wait.js';

export class StateHome {
  readonly #directory: string;
  readonly #swarms: Swarm[] = [];

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async make(t: TestContext): Promise<StateHome> {
    const home = new StateHome(await mkdtemp(join(tmpdir(), 'swarm-test-')));
    t.after(() => home.#clear());
    return home;
  }

  get env(): { XDG_STATE_HOME: string } {
    return { XDG_STATE_HOME: this.#directory };
  }

  /** Of the embedded Redis; null: none runs. */
  get redisPid(): number | null {
    try {
      return Number(readFileSync(join(this.#directory, 'swarm/redis/redis.pid'), 'utf8'));
    } catch {
      return null;
    }
  }

  /** A swarm with its state here. */
  start(app: string | null, { env = {}, ...options }: SwarmOptions): Swarm {
    const swarm = new Swarm(app, { env: { ...this.env, ...env }, ...options });
    this.#swarms.push(swarm);
    return swarm;
  }

  async #clear(): Promise<void> {
    // first those who could start another server
    await Promise.all(this.#swarms.map((swarm) => swarm.close()));
    const pids = processesIn(this.#directory);
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    await waitFor('the embedded Redis is gone', () => !pids.some(isAlive));
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** The embedded server carries no mark, but works in its own directory. */
export function processesIn(directory: string): number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => workingDirectory(pid).startsWith(`${directory}/`));
}

function workingDirectory(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return '';
  }
}
