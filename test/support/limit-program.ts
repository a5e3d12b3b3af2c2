/** Plain programs that use limiters, as many as a test wants. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { waitFor } from './wait.js';

export class LimitProgram {
  readonly lines: string[] = [];
  readonly #process: ChildProcess;
  readonly #exited: Promise<unknown>;

  /** @param app a file of test/apps */
  constructor(app: string, env: Record<string, string>) {
    const path = fileURLToPath(new URL(`../../apps/${app}`, import.meta.url));
    this.#process = spawn(process.execPath, [path], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, ...env },
    });
    this.#exited = once(this.#process, 'exit');
    const { stdout } = this.#process;
    if (stdout) createInterface({ input: stdout }).on('line', (line) => this.lines.push(line));
    const killAtExit = (): void => this.kill();
    process.once('exit', killAtExit);
    this.#process.once('exit', () => process.off('exit', killAtExit));
  }

  /** The n-th line that it prints, from 1. */
  line(nth: number, timeoutMs = 60_000): Promise<string> {
    return waitFor(`line ${nth} of a program`, () => this.#lineOrEnd(nth), { timeoutMs, everyMs: 2 });
  }

  go(): void {
    this.#process.stdin?.write('go\n');
  }

  kill(): void {
    this.#process.kill('SIGKILL');
  }

  async close(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.kill();
    await this.#exited;
  }

  #lineOrEnd(nth: number): string | undefined {
    const line = this.lines[nth - 1];
    if (line === undefined && (this.#process.exitCode ?? 0) !== 0)
      throw new Error(`a program ended with ${this.#process.exitCode}`);
    return line;
  }
}
