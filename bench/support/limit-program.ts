/**
 * One process of apps/limited.mjs. What it prints on stderr is counted and kept from the terminal but for the first
 * line: a limiter whose processes cannot agree may print without end.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

export interface LimitSetup {
  kind: string;
  processes: number;
  /** Of each process. */
  waiters: number;
  /** Of each waiter. */
  uses: number;
  holdMs: number;
  limit: number;
  /** 0: the limit is of what is at work at once. */
  windowMs: number;
  /** The waiters come within this time. */
  spreadMs: number;
}

export class LimitProgram {
  readonly #process: ChildProcess;
  readonly #lines: string[] = [];
  #errors = 0;
  #firstError: string | null = null;

  constructor(setup: LimitSetup, port: number, name: string) {
    const app = fileURLToPath(new URL('../../apps/limited.mjs', import.meta.url));
    const { kind, waiters, uses, holdMs, limit, windowMs, spreadMs } = setup;
    this.#process = spawn(process.execPath, [app], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: {
        ...process.env,
        KIND: kind,
        NAME: name,
        REDIS_PORT: String(port),
        WAITERS: String(waiters),
        USES: String(uses),
        HOLD_MS: String(holdMs),
        LIMIT: String(limit),
        WINDOW_MS: String(windowMs),
        SPREAD_MS: String(spreadMs),
      },
    });
    eachLine(this.#process.stdout, (line) => this.#lines.push(line));
    eachLine(this.#process.stderr, (line) => {
      this.#errors += 1;
      this.#firstError ??= line;
    });
    // it may have ended before it reads
    this.#process.stdin?.on('error', () => {});
    const killAtExit = (): void => void this.#process.kill('SIGKILL');
    process.once('exit', killAtExit);
    this.#process.once('exit', () => process.off('exit', killAtExit));
  }

  /** The n-th line that it has printed, from 1. */
  line(nth: number): string | undefined {
    return this.#lines[nth - 1];
  }

  /** How it ended, if it has not ended well. */
  get failure(): string | null {
    const { exitCode, signalCode } = this.#process;
    if (exitCode === 0 || (exitCode === null && signalCode === null)) return null;
    return `a process ended with ${signalCode ?? `exit code ${exitCode}`}`;
  }

  /** Lines on stderr. */
  get errors(): number {
    return this.#errors;
  }

  get firstError(): string | null {
    return this.#firstError;
  }

  say(text: string): void {
    this.#process.stdin?.write(`${text}\n`);
  }

  async close(): Promise<void> {
    const { exitCode, signalCode } = this.#process;
    if (exitCode !== null || signalCode !== null) return;
    const exited = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await exited;
  }
}

function eachLine(stream: Readable | null, take: (line: string) => void): void {
  if (stream) createInterface({ input: stream }).on('line', take);
}
