/**
 * Upstart, as far as a job file of ours uses it. The real one is no longer to be had; its stanzas, and what it does
 * with them, are documented in init(5) and the Upstart Cookbook.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { LogLine } from './swarm.js';
import { type WaitOptions, waitFor } from './wait.js';

/** What each stanza takes, as init(5) has it. */
const STANZAS: readonly [name: string, takes: RegExp][] = [
  ['description', /^".*"$/],
  ['start on', /^\S.*$/],
  ['stop on', /^\S.*$/],
  ['respawn limit', /^(\d+ \d+|unlimited)$/],
  ['respawn', /^$/],
  ['normal exit', /^(\d+|[A-Z0-9]+)( (\d+|[A-Z0-9]+))*$/],
  ['kill timeout', /^\d+$/],
  ['kill signal', /^[A-Z0-9]+$/],
  ['setuid', /^\S+$/],
  ['setgid', /^\S+$/],
  ['chdir', /^\S.*$/],
  ['umask', /^[0-7]{3,4}$/],
  ['limit', /^[a-z]+ (\d+|unlimited) (\d+|unlimited)$/],
  ['console', /^(none|log|output|owner)$/],
  ['env', /^\w+(=.*)?$/],
  ['exec', /^\S.*$/],
];

export interface UpstartJob {
  /** By name; `env` in the order given. */
  stanzas: Map<string, string[]>;
  script: string;
}

/** Throws at whatever Upstart would not know. */
export function parseUpstartJob(text: string): UpstartJob {
  const stanzas = new Map<string, string[]>();
  const script: string[] = [];
  let isScript = false;
  for (const line of text.split('\n')) {
    const trimmed = line.trim();
    if (trimmed === 'end script') isScript = false;
    else if (isScript) script.push(line);
    else if (trimmed === 'script') isScript = true;
    else if (trimmed !== '' && !trimmed.startsWith('#')) {
      const known = STANZAS.find(([name]) => trimmed === name || trimmed.startsWith(`${name} `));
      if (!known) throw new Error(`init(5) has no such stanza: ${trimmed}`);
      const [name, takes] = known;
      const value = trimmed.slice(name.length).trim();
      if (!takes.test(value)) throw new Error(`init(5) has no such value: ${trimmed}`);
      stanzas.set(name, [...(stanzas.get(name) ?? []), value]);
    }
  }
  if (isScript) throw new Error('a script without its end');
  if (script.length > 0 === stanzas.has('exec')) throw new Error('a job has either a script or an exec');
  return { stanzas, script: script.join('\n') };
}

/** Runs a job as init does, its user aside. */
export class UpstartPlayer {
  readonly lines: LogLine[] = [];
  /** Of the main process, each time that it was started. */
  readonly pids: number[] = [];
  /** How it ended, each time. */
  readonly ends: (number | NodeJS.Signals)[] = [];
  /** It had to be killed at a stop. */
  wasKilled = false;
  #goal: 'start' | 'stop' = 'stop';
  #process: ChildProcess | null = null;
  #respawns: number[] = [];

  constructor(readonly job: UpstartJob) {}

  /** `start NAME KEY=VALUE …` */
  start(overrides: Readonly<Record<string, string>> = {}): void {
    this.#goal = 'start';
    const given = (this.job.stanzas.get('env') ?? []).map((text) => text.split(/=(.*)/s).slice(0, 2));
    const { PATH = '' } = process.env;
    // init gives its jobs next to nothing
    this.#spawn({ PATH, TERM: 'linux', ...Object.fromEntries(given), ...overrides });
  }

  get pid(): number {
    return this.pids.at(-1) ?? 0;
  }

  get isRunning(): boolean {
    return this.#process !== null;
  }

  /** `reload NAME` */
  reload(): void {
    process.kill(this.pid, 'SIGHUP');
  }

  /** `stop NAME`: the signal goes to its process group, KILL follows when its time is up. */
  async stop(): Promise<void> {
    this.#goal = 'stop';
    const { pid } = this;
    if (!this.#process) return;
    const signal = `SIG${this.#value('kill signal', 'TERM')}` as NodeJS.Signals;
    process.kill(-pid, signal);
    const timer = setTimeout(
      () => {
        this.wasKilled = true;
        process.kill(-pid, 'SIGKILL');
      },
      Number(this.#value('kill timeout', '5')) * 1_000,
    );
    await waitFor('the job is stopped', () => !this.isRunning, { timeoutMs: 120_000 });
    clearTimeout(timer);
  }

  async line(message: string, fields: Partial<LogLine> = {}, options: WaitOptions & { nth?: number } = {}) {
    const wanted = Object.entries({ message, ...fields });
    const found = () => this.lines.filter((line) => wanted.every(([key, value]) => line[key] === value));
    try {
      return await waitFor(`log line "${message}"`, () => found()[(options.nth ?? 1) - 1], options);
    } catch (error) {
      const tail = this.lines.slice(-15).map((line) => JSON.stringify(line));
      throw new Error([(error as Error).message, ...tail].join('\n'));
    }
  }

  #value(name: string, fallback: string): string {
    return this.job.stanzas.get(name)?.at(-1) ?? fallback;
  }

  #spawn(env: NodeJS.ProcessEnv): void {
    const cwd = this.#value('chdir', '/').replace(/^'(.*)'$/, '$1');
    const child = spawn('/bin/sh', ['-e', '-c', this.job.script], {
      env,
      cwd,
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#process = child;
    this.pids.push(child.pid as number);
    createInterface({ input: child.stdout }).on('line', (text) => {
      if (text.startsWith('{')) this.lines.push(JSON.parse(text) as LogLine);
    });
    void once(child, 'exit').then(([code, signal]) => {
      this.#process = null;
      const end = (code ?? signal) as number | NodeJS.Signals;
      this.ends.push(end);
      if (this.#respawnsAfter(end)) this.#spawn(env);
    });
  }

  #respawnsAfter(end: number | NodeJS.Signals): boolean {
    if (this.#goal === 'stop' || !this.job.stanzas.has('respawn')) return false;
    const normal = this.#value('normal exit', '').split(' ');
    if (normal.includes(String(end).replace(/^SIG/, ''))) return false;
    const [times = 10, seconds = 5] = this.#value('respawn limit', '10 5').split(' ').map(Number);
    const nowMs = performance.now();
    this.#respawns = [...this.#respawns.filter((atMs) => nowMs - atMs < seconds * 1_000), nowMs];
    return this.#respawns.length <= times;
  }
}
