/**
 * The two things that are compared: the same program in the same number of processes, under `swarm` and as
 * plain `node` processes. Both get the same environment and have their output read.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { cleanEnv, Swarm } from '../../../test/dist/support/swarm.js';
import { waitFor } from '../../../test/dist/support/wait.js';

export interface FleetOptions {
  /** A file of bench/apps. */
  app: string;
  count: number;
  env: Readonly<Record<string, string>>;
  /** For each of its nodes. */
  nodeArguments?: readonly string[];
  /** For `swarm`. */
  args?: readonly string[];
}

export interface Fleet {
  /** Of the processes that run jobs, those that are ready. */
  readonly pids: number[];
  /** null: nobody watches over them. */
  readonly masterPid: number | null;
  /** Ends them as a platform would, with TERM. */
  stop(): Promise<void>;
  /** Leaves nothing behind, whatever state they are in. */
  close(): Promise<void>;
}

const BOOT_TIMEOUT_MS = 60_000;

/** @param registryUrl where the master writes; the program's queues are wherever its environment says */
export async function startSwarm(
  { app, count, env, nodeArguments = [], args: more = [] }: FleetOptions,
  registryUrl: string,
): Promise<Fleet & { swarm: Swarm }> {
  const nodeFlags = nodeArguments.map((argument) => `--node-arg=${argument}`);
  const args = ['--count', String(count), '--redis', registryUrl, ...nodeFlags, ...more];
  const swarm = new Swarm(appPath(app), { args, env });
  const fleet = {
    swarm,
    masterPid: swarm.pid,
    get pids() {
      return [...swarm.children.values()];
    },
    stop: async () => void (await swarm.stop()),
    close: () => swarm.close(),
  };
  return closedOnError(fleet, () => swarm.ready(count, { timeoutMs: BOOT_TIMEOUT_MS }));
}

export async function startNode({ app, count, env, nodeArguments = [] }: FleetOptions): Promise<Fleet> {
  const programs = Array.from({ length: count }, () => new Program([...nodeArguments, appPath(app)], env));
  const fleet: Fleet = {
    masterPid: null,
    get pids() {
      return programs.flatMap(({ pid, state }) => (state === 'ready' ? [pid] : []));
    },
    stop: async () => void (await Promise.all(programs.map((program) => program.end('SIGTERM')))),
    close: async () => void (await Promise.all(programs.map((program) => program.end('SIGKILL')))),
  };
  return closedOnError(fleet, () => Promise.all(programs.map((program) => program.ready())));
}

/** A plain `node` process; it says "ready" on a line of its own. */
class Program {
  state: 'starting' | 'ready' | 'gone' = 'starting';
  readonly #process: ChildProcess;

  constructor(nodeArguments: readonly string[], env: Readonly<Record<string, string>>) {
    const started = spawn(process.execPath, nodeArguments, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...cleanEnv(), ...env },
      // a session of its own, as swarm's children have: Linux may share out CPU time by session
      detached: true,
    });
    this.#process = started;
    createInterface({ input: started.stdout }).on('line', (line) => {
      if (line === 'ready') this.state = 'ready';
    });
    const killAtExit = (): void => void started.kill('SIGKILL');
    process.once('exit', killAtExit);
    started.once('exit', () => {
      this.state = 'gone';
      process.off('exit', killAtExit);
    });
  }

  get pid(): number {
    return this.#process.pid as number;
  }

  async ready(): Promise<void> {
    const turned = (): boolean => this.state !== 'starting';
    await waitFor('a plain program is ready', turned, { timeoutMs: BOOT_TIMEOUT_MS, everyMs: 1 });
    if (this.state === 'gone') throw new Error('a plain program ended before it was ready');
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    if (this.state === 'gone') return;
    const exited = once(this.#process, 'exit');
    this.#process.kill(signal);
    await exited;
  }
}

async function closedOnError<T extends Fleet>(fleet: T, ready: () => Promise<unknown>): Promise<T> {
  try {
    await ready();
    return fleet;
  } catch (error) {
    await fleet.close();
    throw error;
  }
}

function appPath(name: string): string {
  return fileURLToPath(new URL(`../../apps/${name}`, import.meta.url));
}
