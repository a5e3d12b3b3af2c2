/** A real systemd for the services of a test file, see systemd-box.sh; everything in it is killed with the box. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, readlinkSync, realpathSync, rmSync, statSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CommandResult, LogLine } from './swarm.js';
import './ending.js';
import { waitFor } from './wait.js';

// seen from test/dist/support
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const SCRIPT = join(ROOT, 'test/support/systemd-box.sh');
/** Where this checkout and its node are inside: readable for every user, wherever they are outside. */
export const INSIDE = { root: '/srv/swarm', node: '/srv/node' };

export interface Service {
  name: string;
  state(...names: string[]): Promise<Record<string, string>>;
  /** What it logged so far, of all of its masters. */
  log(): Promise<LogLine[]>;
  line(message: string, fields?: Partial<LogLine>): Promise<LogLine>;
  systemctl(verb: string): Promise<CommandResult>;
}

export class SystemdBox {
  readonly #process: ChildProcess;
  readonly #name: string;
  readonly #directory: string;
  #pid = 0;
  readonly #close = (): void => this.#remove();

  private constructor(process: ChildProcess, name: string, directory: string) {
    this.#process = process;
    this.#name = name;
    this.#directory = directory;
  }

  /** A text: why none can be booted here. */
  static async boot(): Promise<SystemdBox | string> {
    if (process.platform !== 'linux' || process.getuid?.() !== 0)
      return 'a systemd of its own needs Linux, and root';
    if (!existsSync('/lib/systemd/systemd')) return 'there is no systemd to boot (package systemd)';
    const name = `swarm-test-${randomBytes(4).toString('hex')}`;
    const directory = await mkdtemp(join(tmpdir(), 'swarm-box-'));
    const modules = realpathSync(join(ROOT, 'node_modules'));
    const binds = [ROOT, INSIDE.root, process.execPath, INSIDE.node, modules, modules];
    const child = spawn(SCRIPT, [name, join(directory, 'pid'), ...binds], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const box = new SystemdBox(child, name, directory);
    let said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        said = (said + text).slice(-2_000);
      });
    }
    process.once('exit', box.#close);
    try {
      await waitFor('systemd is up', () => box.#isUp(), { timeoutMs: 30_000, everyMs: 100 });
      return box;
    } catch (error) {
      await box.close();
      return `no systemd could be booted here: ${said.trim() || (error as Error).message}`;
    }
  }

  #isUp(): boolean {
    if (this.#process.exitCode !== null) throw new Error(`it ended with ${this.#process.exitCode}`);
    this.#pid ||= Number(read(join(this.#directory, 'pid')));
    if (this.#pid === 0) return false;
    const { stdout } = spawnSync('nsenter', [...this.#enter(), 'systemctl', 'is-system-running'], {
      encoding: 'utf8',
    });
    return /running|degraded/.test(stdout);
  }

  /** Of a process inside, its pid here; null: there is none. */
  pidHere(inside: number): number | null {
    const namespace = readlink(`/proc/${this.#pid}/ns/pid`);
    for (const entry of readdirSync('/proc').filter((each) => /^\d+$/.test(each))) {
      const pids = /^NSpid:\s+(.*)$/m.exec(read(`/proc/${entry}/status`))?.[1]?.split('\t') ?? [];
      if (pids.at(-1) === String(inside) && readlink(`/proc/${entry}/ns/pid`) === namespace)
        return Number(entry);
    }
    return null;
  }

  async run(...command: string[]): Promise<CommandResult> {
    const child = spawn('nsenter', [...this.#enter(), ...command], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 120_000,
    });
    const result: CommandResult = { code: null, stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      result.stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      result.stderr += text;
    });
    result.code = await new Promise((resolve) => child.once('close', resolve));
    return result;
  }

  async put(path: string, text: string): Promise<void> {
    const script = 'mkdir -p "$(dirname "$0")" && printf %s "$1" >"$0"';
    const { code, stderr } = await this.run('sh', '-c', script, path, text);
    if (code !== 0) throw new Error(stderr);
  }

  /** The `swarm` command inside, started in this directory of the checkout. */
  swarm(directory: string, ...words: string[]): Promise<CommandResult> {
    const bin = `${INSIDE.root}/packages/swarm/bin/swarm.js`;
    return this.run('env', '-C', `${INSIDE.root}/${directory}`, INSIDE.node, bin, ...words);
  }

  /**
   * A service by the unit that `swarm init` writes.
   *
   * @param env what its administrator puts into /etc/default
   * @param overrides lines of a drop-in's [Service]
   */
  async service(
    words: readonly string[],
    env: Readonly<Record<string, string>>,
    overrides: readonly string[] = [],
  ): Promise<Service> {
    const name = `test-${randomBytes(4).toString('hex')}`;
    const written = await this.swarm(
      'test/apps',
      'init',
      'systemd',
      ...words,
      '--name',
      name,
      '--user',
      'daemon',
      '--write',
    );
    if (written.code !== 0) throw new Error(written.stderr);
    // a checkout may be for its owner alone
    const user = (statSync(join(ROOT, 'package.json')).mode & 0o004) === 0 ? ['User=root'] : [];
    const dropIn = ['[Service]', ...user, ...overrides, ''].join('\n');
    await this.put(`/etc/systemd/system/${name}.service.d/test.conf`, dropIn);
    const lines = Object.entries({ SWARM_LOG_FORMAT: 'json', ...env }).map(
      ([key, value]) => `${key}='${value}'\n`,
    );
    await this.put(`/etc/default/${name}`, lines.join(''));
    await this.run('systemctl', 'daemon-reload');
    return this.#serviceOf(name);
  }

  #serviceOf(name: string): Service {
    const log = async (): Promise<LogLine[]> => {
      const { stdout } = await this.run('journalctl', '--unit', name, '--output', 'cat', '--quiet');
      return stdout
        .split('\n')
        .flatMap((text) => (text.startsWith('{') ? [JSON.parse(text) as LogLine] : []));
    };
    return {
      name,
      log,
      systemctl: (verb) => this.run('systemctl', verb, name),
      state: async (...names) => {
        const { stdout } = await this.run('systemctl', 'show', name, `--property=${names.join(',')}`);
        const pairs = stdout
          .trim()
          .split('\n')
          .map((line) => /^([^=]*)=(.*)$/s.exec(line)?.slice(1) ?? ['', '']);
        return Object.fromEntries(pairs) as Record<string, string>;
      },
      line: async (message, fields = {}) => {
        const wanted = Object.entries({ message, ...fields });
        const found = async () =>
          (await log()).find((line) => wanted.every(([key, value]) => line[key] === value));
        return waitFor(`${name} logs "${message}"`, found, { everyMs: 200 }).catch(async (error: Error) => {
          const tail = (await log()).slice(-15).map((line) => JSON.stringify(line));
          throw new Error([error.message, ...tail].join('\n'));
        });
      },
    };
  }

  async close(): Promise<void> {
    process.off('exit', this.#close);
    this.#remove();
    await waitFor('the box is gone', () => !existsSync(this.#directory) || this.#swept(), { everyMs: 100 });
  }

  #enter(): string[] {
    return [
      '--target',
      String(this.#pid),
      '--mount',
      '--pid',
      '--uts',
      '--ipc',
      '--cgroup',
      '--root',
      '--wd',
    ];
  }

  #remove(): void {
    this.#process.kill('SIGKILL');
    this.#swept();
  }

  /** The cgroups can go once the last process has. */
  #swept(): boolean {
    const roots = ['/sys/fs/cgroup', ...children('/sys/fs/cgroup')].map((mount) => join(mount, this.#name));
    for (const root of roots.filter((each) => existsSync(each))) {
      spawnSync('find', [root, '-depth', '-type', 'd', '-exec', 'rmdir', '{}', ';'], { stdio: 'ignore' });
    }
    if (roots.some((root) => existsSync(root))) return false;
    rmSync(this.#directory, { recursive: true, force: true });
    return true;
  }
}

function children(directory: string): string[] {
  return readdirSync(directory).map((name) => join(directory, name));
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function readlink(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
