/** The real `swarm` command in a process of its own; its log, read line by line, is what tests wait for. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { OtherHost } from './other-host.js';
import { killMarked, MARK, markedProcesses, type ProcessFacts } from './processes.js';
import './ending.js';
import { isAlive, type WaitOptions, waitFor } from './wait.js';

// seen from test/dist/support
const ROOT = new URL('../../../', import.meta.url);
export const BIN = fileURLToPath(new URL('packages/swarm/bin/swarm.js', ROOT));

/** A log line of the master; `stream` is set on lines that a child printed. */
export interface LogLine {
  time: string;
  level?: string;
  message: string;
  slot?: number;
  generation?: number;
  pid?: number;
  stream?: 'stdout' | 'stderr';
  [field: string]: unknown;
}

export interface SwarmOptions {
  args?: readonly string[];
  env?: Readonly<Record<string, string>>;
  cwd?: string;
  /** Which lines to keep in memory; default: all. */
  keep?: (line: LogLine) => boolean;
  /** What it runs on instead of this host; its log then has pids of that one. */
  host?: OtherHost;
  /** Which node runs it, and its children; default: the one that runs the tests. */
  node?: string;
  /** A command to run it by that becomes the master, such as `taskset --cpu-list 0`. */
  by?: readonly string[];
}

export class Swarm {
  readonly lines: LogLine[] = [];
  /** By message: tests ask for one message many times a second. */
  readonly #said = new Map<string, LogLine[]>();
  stderr = '';
  /** In the environment of the master and of everything it starts, however far that strays. */
  readonly mark = randomUUID();
  readonly #process: ChildProcess;
  /** Its pids mean something here. */
  readonly #isHere: boolean;
  #exit: Promise<number | null>;

  /** @param app a file of test/apps, or an absolute path; null: none is named */
  constructor(
    app: string | null,
    {
      args = [],
      env = {},
      cwd,
      keep = () => true,
      host,
      node = process.execPath,
      by = [],
    }: SwarmOptions = {},
  ) {
    const path = app === null ? [] : [app.startsWith('/') ? app : appPath(app)];
    const [command = '', ...words] = [...(host?.command ?? by), node, BIN, ...path, ...args];
    this.#isHere = host === undefined;
    this.#process = spawn(command, words, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...cleanEnv(), SWARM_LOG_FORMAT: 'json', [MARK]: this.mark, ...env },
      ...(cwd ? { cwd } : {}),
    });
    const { stdout, stderr } = this.#process;
    if (stdout) {
      createInterface({ input: stdout, crlfDelay: Infinity }).on('line', (text) => {
        const line = parseLine(text);
        if (keep(line)) this.#add(line);
      });
    }
    stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.#exit = once(this.#process, 'close').then(([code]) => code as number | null);
    running.add(this);
  }

  get pid(): number {
    return this.#process.pid as number;
  }

  #add(line: LogLine): void {
    this.lines.push(line);
    const same = this.#said.get(line.message);
    if (same) same.push(line);
    else this.#said.set(line.message, [line]);
  }

  get stdout() {
    return this.#process.stdout;
  }

  kill(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  /** The exit code once it is gone and its output is read. */
  async exited(timeoutMs = 60_000): Promise<number | null> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`the master still runs after ${timeoutMs} ms\n${this.tail()}`)),
        timeoutMs,
      );
    });
    try {
      return await Promise.race([this.#exit, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The n-th line (from 1) that has this message and these fields, waited for. */
  async line(
    message: string,
    fields: Partial<LogLine> = {},
    options: WaitOptions & { nth?: number } = {},
  ): Promise<LogLine> {
    const { nth = 1 } = options;
    const what = `log line ${nth} "${message}" ${JSON.stringify(fields)}`;
    try {
      return await waitFor(what, () => this.all(message, fields)[nth - 1], options);
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.tail()}`);
    }
  }

  all(message: string, fields: Partial<LogLine> = {}): LogLine[] {
    const same = this.#said.get(message) ?? [];
    return same.filter((line) => Object.entries(fields).every(([name, value]) => line[name] === value));
  }

  /** Pids of the children that are ready now, by slot. */
  get children(): Map<number, number> {
    const children = new Map<number, number>();
    for (const { message, slot, pid, stream } of this.lines) {
      if (stream !== undefined || slot === undefined || pid === undefined) continue;
      if (message === 'ready') children.set(slot, pid);
      if (message === 'exited' && children.get(slot) === pid) children.delete(slot);
    }
    return children;
  }

  /** Waits until so many children are ready. */
  async ready(count: number, options: WaitOptions = {}): Promise<number[]> {
    try {
      await waitFor(`${count} children are ready`, () => this.#has(count), options);
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.tail()}`);
    }
    return [...this.children.values()];
  }

  #has(count: number): boolean {
    const { exitCode, signalCode } = this.#process;
    if (exitCode !== null || signalCode !== null)
      throw new Error(`the master ended: ${exitCode ?? signalCode}`);
    return this.children.size === count;
  }

  /** Every pid that was ever spawned on this host. */
  get spawnedPids(): number[] {
    if (!this.#isHere) return [];
    return this.lines
      .filter(({ message, stream }) => message === 'spawned' && !stream)
      .map(({ pid }) => pid as number);
  }

  /** Everything that runs because of it, the master included. */
  get processes(): ProcessFacts[] {
    return markedProcesses(this.mark);
  }

  /** Stops it with TERM and waits for its end. */
  async stop(): Promise<number | null> {
    this.kill('SIGTERM');
    return this.exited();
  }

  /** For the end of a test, whatever came of it: nothing it started is left. */
  async close(): Promise<void> {
    running.delete(this);
    this.#process.kill('SIGKILL');
    // a child that drains for a master that is gone would take its time
    for (const pid of this.spawnedPids) killGroup(pid);
    killMarked(this.mark);
    // a test may have stopped reading it
    this.stdout?.destroy();
    await this.#exit;
    killMarked(this.mark);
    await waitFor('no child is left', () => !this.spawnedPids.some(isAlive), { timeoutMs: 10_000 });
  }

  tail(lines = 25): string {
    return [...this.lines.slice(-lines).map((line) => JSON.stringify(line)), this.stderr].join('\n');
  }
}

const running = new Set<Swarm>();
process.once('exit', () => {
  for (const swarm of running) {
    swarm.kill('SIGKILL');
    for (const pid of swarm.spawnedPids) killGroup(pid);
  }
});

export function appPath(name: string): string {
  return fileURLToPath(new URL(`test/apps/${name}`, ROOT));
}

export interface CommandResult {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a `swarm` command that ends by itself. */
export async function swarmCommand(
  args: readonly string[],
  options: Omit<SwarmOptions, 'args'> = {},
): Promise<CommandResult> {
  const child = spawn(process.execPath, [BIN, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...cleanEnv(), ...options.env },
    ...(options.cwd ? { cwd: options.cwd } : {}),
    timeout: 60_000,
  });
  const result: CommandResult = { code: null, stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    result.stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    result.stderr += text;
  });
  [result.code] = (await once(child, 'close')) as [number | null];
  return result;
}

/** The tests' own environment without what would configure a master. */
export function cleanEnv(): NodeJS.ProcessEnv {
  const skipped =
    /^(SWARM_|REDIS_URL$|COUNT$|NUM_WORKERS$|DYNO$|INVOCATION_ID$|KUBERNETES_|NODE_OPTIONS$|NODE_TEST)/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !skipped.test(name)));
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // nobody is left
  }
}

/** A line that is no JSON is a defect of its own; it is kept so that a test can say so. */
function parseLine(text: string): LogLine {
  try {
    return JSON.parse(text) as LogLine;
  } catch {
    return { time: '', level: 'not-json', message: text };
  }
}
