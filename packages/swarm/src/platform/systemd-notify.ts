/**
 * Sends notices to the service manager through `systemd-notify`. Node has no datagram sockets of the kind that
 * sd_notify(3) wants, an addon would need a compiler at install, and a shell has none either. The command waits
 * until its notice was read, so that the manager can still look up whose it is.
 *
 * One process at a time; what comes meanwhile is merged, for only the newest state counts. Where there is no
 * process to be had (EAGAIN, ENOMEM) it is tried again each second.
 */
import { spawn } from 'node:child_process';
import type { Logger } from '../log.js';
import type { Notice } from './service-notices.js';

const RETRY_MS = 1_000;
const REPEAT_MS = 60_000;
const SEND_TIMEOUT_MS = 5_000;
const COMMAND = 'systemd-notify';

/** Runs the command; rejects with a reason. */
export type Send = (assignments: readonly string[]) => Promise<void>;

export class NoticeSender {
  readonly #send: Send;
  readonly #log: Pick<Logger, 'warn'>;
  #waiting: Notice | null = null;
  #sending: Promise<void> | null = null;
  #retry: NodeJS.Timeout | null = null;
  #saidAtMs = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  constructor(send: Send, log: Pick<Logger, 'warn'>) {
    this.#send = send;
    this.#log = log;
  }

  /** Returns at once. */
  tell(notice: Notice): void {
    this.#waiting = merge(this.#waiting ?? {}, notice);
    if (!this.#sending && !this.#retry) this.#next();
  }

  /** What waits is sent, as far as that is quickly done. */
  async close(timeoutMs: number): Promise<void> {
    this.#isClosed = true;
    if (this.#retry) clearTimeout(this.#retry);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    await Promise.race([this.#sending, late]);
    clearTimeout(timer);
  }

  #next(): void {
    this.#retry = null;
    const notice = this.#waiting;
    if (notice === null) return;
    this.#waiting = null;
    this.#sending = this.#send(Object.entries(notice).map(([name, value]) => `${name}=${value}`)).then(
      () => this.#sent(),
      (error: unknown) => this.#failed(notice, error),
    );
  }

  #sent(): void {
    this.#sending = null;
    this.#next();
  }

  #failed(notice: Notice, error: unknown): void {
    this.#sending = null;
    // what has come since is newer
    this.#waiting = merge(notice, this.#waiting ?? {});
    if (this.#isClosed) return;
    this.#retry = setTimeout(() => this.#next(), RETRY_MS);
    this.#retry.unref();
    const nowMs = performance.now();
    if (nowMs - this.#saidAtMs < REPEAT_MS) return;
    this.#saidAtMs = nowMs;
    this.#log.warn('the service manager was not told; it is tried again each second', {
      error: error instanceof Error ? error.message : String(error),
    });
  }
}

/** States of a service, of which one holds at a time. */
const STATES = ['READY', 'RELOADING', 'STOPPING'];

function merge(older: Notice, newer: Notice): Notice {
  const hasState = STATES.some((name) => name in newer);
  const kept = Object.entries(older).filter(([name]) => !hasState || !STATES.includes(name));
  return { ...Object.fromEntries(kept), ...newer };
}

/** @param socket what `NOTIFY_SOCKET` was */
export function systemdNotify(socket: string): Send {
  const { PATH = '' } = process.env;
  return (assignments) =>
    new Promise((resolve, reject) => {
      const child = spawn(COMMAND, [...assignments], {
        env: { PATH: `${PATH}:/usr/bin:/bin`, NOTIFY_SOCKET: socket, LC_ALL: 'C' },
        stdio: ['ignore', 'ignore', 'pipe'],
        timeout: SEND_TIMEOUT_MS,
        killSignal: 'SIGKILL',
      });
      let said = '';
      child.stderr?.setEncoding('utf8').on('data', (text: string) => {
        said = (said + text).slice(0, 500);
      });
      child.once('error', (error: NodeJS.ErrnoException) => {
        const cure = `${COMMAND} is not installed (package systemd)`;
        reject(error.code === 'ENOENT' ? new Error(cure, { cause: error }) : error);
      });
      child.once('close', (code, signal) => {
        if (code === 0) resolve();
        else reject(new Error(said.trim() || `${COMMAND} ended with ${signal ?? `exit code ${code}`}`));
      });
    });
}
