/** A terminal of a test's own, with a shell in it, that can be typed into and looked at: tmux on a socket of its own. */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import type { TestContext } from 'node:test';
import { cleanEnv } from './swarm.js';
import { type WaitOptions, waitFor } from './wait.js';

/** null: there is one; else why not. */
export function whyNoTmux(): string | null {
  const { error, status } = spawnSync('tmux', ['-V']);
  return error || status !== 0 ? 'tmux is not to be had here (apt-get install tmux)' : null;
}

export interface TerminalOptions {
  width?: number;
  height?: number;
  env?: Readonly<Record<string, string>>;
}

const PROMPT = 'ready$ ';

export class TestTerminal {
  readonly #socket = `swarm-test-${randomBytes(4).toString('hex')}`;

  private constructor() {}

  static async open(
    t: TestContext,
    { width = 80, height = 24, env = {} }: TerminalOptions = {},
  ): Promise<TestTerminal> {
    const terminal = new TestTerminal();
    t.after(() => terminal.#run('kill-server'));
    const shell = ['env', ...pairs({ LC_ALL: 'C.UTF-8', PS1: PROMPT, ...env }), 'sh'];
    terminal.#run('-u', 'new-session', '-d', '-x', String(width), '-y', String(height), ...shell);
    await terminal.shows('the shell', (screen) => screen.startsWith(PROMPT.trim()));
    return terminal;
  }

  /** Names of keys as tmux has them, or text. */
  press(...keys: string[]): void {
    this.#run('send-keys', ...keys);
  }

  run(words: readonly string[]): void {
    this.#run('send-keys', '-l', words.map((word) => `'${word}'`).join(' '));
    this.press('Enter');
  }

  resize(width: number, height: number): void {
    this.#run('resize-window', '-x', String(width), '-y', String(height));
  }

  /** Line by line, without blanks at the ends. */
  get screen(): string {
    return this.#run('capture-pane', '-p').trimEnd();
  }

  /** With its colours, as escape sequences. */
  get painted(): string {
    return this.#run('capture-pane', '-p', '-e');
  }

  /** Whether a program draws on the alternate screen, and whether the cursor is seen. */
  get modes(): { alternate: boolean; cursor: boolean } {
    const [alternate, cursor] = this.#run('display-message', '-p', '#{alternate_on} #{cursor_flag}')
      .trim()
      .split(' ');
    return { alternate: alternate === '1', cursor: cursor === '1' };
  }

  /** The program that has the terminal. */
  get program(): string {
    return this.#run('display-message', '-p', '#{pane_current_command}').trim();
  }

  /** As a window that is closed, but that nobody is told of it first. */
  endShell(): void {
    process.kill(Number(this.#run('display-message', '-p', '#{pane_pid}').trim()), 'SIGKILL');
  }

  async shows(
    what: string,
    condition: (screen: string) => boolean,
    options: WaitOptions = {},
  ): Promise<string> {
    try {
      return await waitFor(what, () => (condition(this.screen) ? this.screen : null), {
        everyMs: 50,
        ...options,
      });
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.screen}`);
    }
  }

  #run(...args: string[]): string {
    const { stdout, stderr, error } = spawnSync('tmux', ['-L', this.#socket, '-f', '/dev/null', ...args], {
      encoding: 'utf8',
      env: { ...cleanEnv(), TERM: 'xterm-256color', LC_ALL: 'C.UTF-8' },
    });
    if (error) throw error;
    return stdout || stderr;
  }
}

function pairs(env: Readonly<Record<string, string>>): string[] {
  return Object.entries(env).map(([name, value]) => `${name}=${value}`);
}
