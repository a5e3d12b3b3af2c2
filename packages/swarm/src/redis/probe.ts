/**
 * One short-lived connection to the embedded server: is it there, and is it ours?
 *
 * Its password proves little (a Redis that happens to sit on our port may take any), so it must also
 * name our configuration file. Authenticates by hand: ioredis only prints a warning when a server has no password.
 */
import { realpathSync } from 'node:fs';
import { Redis } from './ioredis.js';
import { codeOf } from './lock.js';
import { parseInfo } from './ready.js';
import type { Settings } from './state.js';

export type ProbeResult = Probe | { ok: false; reason: string };

const CONNECT_TIMEOUT_MS = 1_000;
const COMMAND_TIMEOUT_MS = 2_000;

export class Probe {
  readonly ok = true;
  /** E.g. `redis-server 7.0.15`. */
  readonly server: string;
  readonly pid: number;
  readonly #client: Redis;

  private constructor(client: Redis, server: string, pid: number) {
    this.#client = client;
    this.server = server;
    this.pid = pid;
  }

  /** Never throws. `reason` is `ECONNREFUSED` when nothing listens. A server that still loads its data is there. */
  static async open(settings: Settings, configFile: string): Promise<ProbeResult> {
    const client = new Redis({
      host: '127.0.0.1',
      port: settings.port,
      protocol: 2,
      lazyConnect: true,
      enableReadyCheck: false,
      enableOfflineQueue: false,
      disableClientInfo: true,
      retryStrategy: () => null,
      maxRetriesPerRequest: 0,
      connectTimeout: CONNECT_TIMEOUT_MS,
      commandTimeout: COMMAND_TIMEOUT_MS,
    });
    let failure: Error | undefined;
    client.on('error', (error: Error) => {
      failure ??= error;
    });
    try {
      await client.connect();
      await client.auth(settings.password);
      const info = parseInfo(await client.info('server'));
      const pid = Number(info.get('process_id'));
      if (!isSameFile(info.get('config_file') ?? '', configFile) || !Number.isSafeInteger(pid)) {
        throw new Error('another Redis');
      }
      await client.client('SETNAME', `swarm-embedded-${process.pid}`);
      const valkey = info.get('valkey_version');
      const server = valkey
        ? `valkey-server ${valkey}`
        : `redis-server ${info.get('redis_version') ?? 'unknown'}`;
      return new Probe(client, server, pid);
    } catch (error) {
      client.disconnect();
      const cause = failure ?? error;
      return { ok: false, reason: codeOf(cause) || (cause instanceof Error ? cause.message : String(cause)) };
    }
  }

  /** Connections other than this one, and other than those that are named `ownName`, or that and more after a hyphen. */
  async otherClients(ownName?: string): Promise<number> {
    return (await this.otherNames(ownName)).length;
  }

  /** What these are called; one that has no name is the empty text. */
  async otherNames(ownName?: string): Promise<string[]> {
    const ownId = String(await this.#client.client('ID'));
    const list = String(await this.#client.client('LIST'));
    return list.split('\n').flatMap((line) => {
      const id = /^id=(\d+)/.exec(line)?.[1];
      const name = /(?:^| )name=(\S*)/.exec(line)?.[1] ?? '';
      const isOwn = ownName !== undefined && (name === ownName || name.startsWith(`${ownName}-`));
      return id !== undefined && id !== ownId && !isOwn ? [name] : [];
    });
  }

  /** Resolves when the server has hung up; throws when it refuses, e.g. because it cannot write. */
  async shutdown(): Promise<void> {
    try {
      await this.#client.shutdown();
    } catch (error) {
      // Hanging up is its way to say yes.
      if (!(error instanceof Error) || error.name === 'ReplyError') throw error;
    } finally {
      this.#client.disconnect();
    }
  }

  /** Lets the process end while this connection is open. */
  unref(): void {
    this.#client.stream.unref();
  }

  close(): void {
    this.#client.disconnect();
  }
}

function isSameFile(one: string, other: string): boolean {
  try {
    return realpathSync(one) === realpathSync(other);
  } catch {
    return one === other;
  }
}
