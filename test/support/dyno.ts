/**
 * A dyno, as far as its processes can tell: pids of its own, and somebody who runs a line of a Procfile, sends TERM to all of
 * them at once, several times, and KILL when 30 s are over.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import { cleanEnv, type LogLine } from './swarm.js';
import { waitFor } from './wait.js';

const GRACE_MS = 30_000;
const NAMESPACES = ['unshare', '--pid', '--mount-proc', '--fork', '--kill-child'];
/** PID 1 there: outlives its own signals, and ends as its command does. $1: the line. */
const RUNNER = `
trap 'kill -TERM -1' USR1
trap '' TERM
bash -c "trap - TERM; $1" &
app=$!
code=0
while :; do
  wait $app; code=$?
  kill -0 $app 2>/dev/null || break
done
exit $code
`;

/** null: a dyno can be played here; else why not. */
export function whyNoDyno(): string | null {
  const { status, error, stderr } = spawnSync(NAMESPACES[0] as string, [...NAMESPACES.slice(1), 'true'], {
    encoding: 'utf8',
  });
  return status === 0 ? null : `no namespaces can be made here: ${error?.message ?? stderr.trim()}`;
}

export class Dyno {
  readonly lines: LogLine[] = [];
  stderr = '';
  /** It did not end in time. */
  wasKilled = false;
  readonly #process: ChildProcess;
  readonly #exit: Promise<number | null>;

  /** @param line of the Procfile, after its process type */
  constructor(t: TestContext, line: string, env: NodeJS.ProcessEnv) {
    const [command = '', ...words] = [...NAMESPACES, 'bash', '-c', RUNNER, 'runner', line];
    this.#process = spawn(command, words, {
      env: { ...cleanEnv(), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const { stdout, stderr } = this.#process;
    if (stdout) {
      createInterface({ input: stdout }).on('line', (text) => {
        if (text.startsWith('{')) this.lines.push(JSON.parse(text) as LogLine);
      });
    }
    stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.#exit = once(this.#process, 'close').then(([code]) => code as number | null);
    t.after(async () => {
      this.#process.kill('SIGKILL');
      await this.#exit;
    });
  }

  exited(): Promise<number | null> {
    return this.#exit;
  }

  async line(message: string, fields: Partial<LogLine> = {}): Promise<LogLine> {
    const wanted = Object.entries({ message, ...fields });
    const found = () => this.lines.find((line) => wanted.every(([key, value]) => line[key] === value));
    return waitFor(`log line "${message}"`, found).catch((error: Error) => {
      const tail = this.lines.slice(-15).map((line) => JSON.stringify(line));
      throw new Error([error.message, ...tail, this.stderr].join('\n'));
    });
  }

  /** The exit code of what it ran. */
  async restart(times: number): Promise<number | null> {
    const runner = await waitFor('its PID 1', () => this.#runner());
    const timer = setTimeout(() => {
      this.wasKilled = true;
      this.#process.kill('SIGKILL');
    }, GRACE_MS);
    for (let at = 0; at < times && this.#process.exitCode === null; at += 1) {
      process.kill(runner, 'SIGUSR1');
      await Promise.race([this.#exit, new Promise((resolve) => setTimeout(resolve, 300))]);
    }
    const code = await this.#exit;
    clearTimeout(timer);
    return code;
  }

  #runner(): number | null {
    const { pid } = this.#process;
    return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()) || null;
  }
}
