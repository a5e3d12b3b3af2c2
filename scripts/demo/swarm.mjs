/** The swarm that the demo runs: the real command, with a state directory of its own that goes with it. */
import { execFile, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const COMMAND = join(import.meta.dirname, '../../packages/swarm/bin/swarm.js');

/** Drain (25 s), hand-back and kill (3 s), and some. */
const STOP_TIMEOUT_MS = 35_000;

export class Swarm {
  #process = null;
  #exited = null;

  constructor({ app, count, log }) {
    this.app = app;
    this.count = count;
    this.log = log;
    this.stateDirectory = mkdtempSync(join(tmpdir(), 'swarm-demo-'));
    // What this shell is set up for (a Redis, a namespace, a count) is no part of the demo.
    this.env = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !/^(SWARM_.*|REDIS_URL|COUNT|NUM_WORKERS)$/.test(name)),
    );
    this.env.XDG_STATE_HOME = this.stateDirectory;
  }

  /** How the master ended: `{ code, signal }`. */
  get ended() {
    return this.#exited;
  }

  start() {
    const args = [this.app, '--count', String(this.count), '--redis', 'embedded', '--log-format', 'json'];
    const log = openSync(this.log, 'w');
    this.#process = spawn(process.execPath, [COMMAND, ...args], {
      env: this.env,
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    this.#exited = new Promise((resolve, reject) => {
      this.#process.once('error', reject);
      this.#process.once('exit', (code, signal) => resolve({ code, signal }));
    });
    return ['swarm', ...args].join(' ');
  }

  /** Runs another swarm command against the same Redis, e.g. `command('ps')`. */
  async command(...args) {
    const { stdout } = await promisify(execFile)(process.execPath, [COMMAND, ...args], { env: this.env });
    return stdout;
  }

  /** @returns how the master ended */
  async stop() {
    this.#process.kill('SIGTERM');
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), STOP_TIMEOUT_MS);
    const ended = await this.#exited;
    clearTimeout(timer);
    return ended;
  }

  /** The master leaves its Redis running while anybody else is connected, such as this process a moment ago. */
  async removeState() {
    await this.command('redis', 'stop').catch(() => {});
    rmSync(this.stateDirectory, { recursive: true, force: true });
  }

  /** What swarm logged, as objects; a line that is none (a child's own output, a crash) as `{ text }`. */
  logLines() {
    let text = '';
    try {
      text = readFileSync(this.log, 'utf8');
    } catch {
      // Not started yet.
    }
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        try {
          return JSON.parse(line);
        } catch {
          return { text: line };
        }
      });
  }
}
