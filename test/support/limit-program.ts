/** Plain programs that use limiters, as many as a test or a benchmark wants. They are told by lines, and answer with lines. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { waitFor } from './wait.js';

export interface LimitProgramOptions {
  /**
   * What it prints on stderr is counted and kept from the terminal, but for `firstError`: a limiter whose processes
   * cannot agree may print without end. Default false: it goes to the terminal.
   */
  countsErrors?: boolean;
}

export class LimitProgram {
  readonly #process: ChildProcess;
  readonly #lines: string[] = [];
  #errors = 0;
  #firstError: string | null = null;

  /** @param path absolute */
  constructor(
    path: string,
    env: Readonly<Record<string, string>>,
    { countsErrors = false }: LimitProgramOptions = {},
  ) {
    this.#process = spawn(process.execPath, [path], {
      stdio: ['pipe', 'pipe', countsErrors ? 'pipe' : 'inherit'],
      env: { ...process.env, ...env },
    });
    eachLine(this.#process.stdout, (line) => this.#lines.push(line));
    eachLine(this.#process.stderr, (line) => {
      this.#errors += 1;
      this.#firstError ??= line;
    });
    // it may have ended before it reads
    this.#process.stdin?.on('error', () => {});
    const killAtExit = (): void => this.kill();
    process.once('exit', killAtExit);
    this.#process.once('exit', () => process.off('exit', killAtExit));
  }

  /** The n-th line that it has printed, from 1. */
  printed(nth: number): string | undefined {
    return this.#lines[nth - 1];
  }

  /** The n-th line that it prints, from 1, waited for; rejects when it ends badly before. */
  line(nth: number, timeoutMs = 60_000): Promise<string> {
    return waitFor(`line ${nth} of a program`, () => this.#printedOrEnd(nth), { timeoutMs, everyMs: 2 });
  }

  /** How it ended, if it has not ended well. */
  get failure(): string | null {
    const { exitCode, signalCode } = this.#process;
    if (exitCode === 0 || this.#runs) return null;
    return `a program ended with ${signalCode ?? `exit code ${exitCode}`}`;
  }

  /** Lines on stderr, where they are counted. */
  get errors(): number {
    return this.#errors;
  }

  get firstError(): string | null {
    return this.#firstError;
  }

  say(text: string): void {
    this.#process.stdin?.write(`${text}\n`);
  }

  kill(): void {
    this.#process.kill('SIGKILL');
  }

  async close(): Promise<void> {
    if (!this.#runs) return;
    const exited = once(this.#process, 'exit');
    this.kill();
    await exited;
  }

  get #runs(): boolean {
    const { exitCode, signalCode } = this.#process;
    return exitCode === null && signalCode === null;
  }

  #printedOrEnd(nth: number): string | undefined {
    const line = this.printed(nth);
    if (line === undefined && this.failure !== null) throw new Error(this.failure);
    return line;
  }
}

function eachLine(stream: Readable | null, take: (line: string) => void): void {
  if (stream) createInterface({ input: stream }).on('line', take);
}
