/**
 * The master's end of one child: its facts, its messages, its output and its end. It decides nothing.
 *
 * The end is announced once, when the process has exited *and* the IPC channel is read to its end: what
 * a child said with its last breath (which jobs it took, what killed it) counts.
 */
import type { ChildProcess } from 'node:child_process';
import type { ActiveJob, Beat, ChildMessage, MasterMessage, WorkerInfo } from '../protocol.js';
import { parseChildMessage, wrap } from '../protocol.js';
import type { Forked } from './fork.js';
import { forwardOutput } from './output.js';
import { readStartTicks } from './proc.js';

/** A pipe that the kernel has closed is read to its end well within this. */
const LAST_WORDS_MS = 100;
/** Beyond this many unsent bytes the child does not read its messages: more would only pile up. */
const MAX_QUEUED_BYTES = 1 << 20;

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface ChildListener {
  onMessage(child: ChildHandle, message: ChildMessage): void;
  onMalformed(child: ChildHandle, why: string): void;
  onLine(child: ChildHandle, stream: 'stdout' | 'stderr', text: string): void;
  onExit(child: ChildHandle, exit: Exit): void;
}

export class ChildHandle {
  readonly identity: string;
  readonly pid: number;
  readonly pidStartTicks: number | null;
  /** Epoch ms. */
  readonly startedAtMs = Date.now();
  readyAtMs: number | null = null;
  beatAtMs: number | null = null;
  beat: Beat | null = null;
  concurrency = 0;
  canRelease = false;
  readonly workers: WorkerInfo[] = [];
  uncaught: Extract<ChildMessage, { type: 'uncaught' }> | null = null;
  drained: Extract<ChildMessage, { type: 'drained' }> | null = null;
  exit: Exit | null = null;

  readonly #process: ChildProcess;
  readonly #listener: ChildListener;

  constructor(
    forked: Forked,
    readonly slot: number,
    readonly group: string,
    readonly generation: number,
    listener: ChildListener,
  ) {
    this.#process = forked.process;
    forked.guard.onBroken = (error) =>
      listener.onMalformed(this, `not a message of node's: ${error.message}`);
    this.#listener = listener;
    this.pid = forked.pid;
    this.identity = forked.identity;
    this.pidStartTicks = readStartTicks(forked.pid);
    this.#listen();
  }

  /** Jobs it was last known to run. */
  get jobs(): readonly ActiveJob[] {
    return this.beat?.jobs ?? [];
  }

  /** A child that is gone, or does not read, takes no message; its end is announced in its own way. */
  send(message: MasterMessage): void {
    const { channel, connected } = this.#process as {
      channel?: { writeQueueSize?: number };
      connected: boolean;
    };
    if (!connected || (channel?.writeQueueSize ?? 0) > MAX_QUEUED_BYTES) return;
    this.#process.send(wrap(message), () => {
      // EPIPE and the like: the exit event follows and says more
    });
  }

  /** SIGKILL to the child and everything that it started. */
  killGroup(): void {
    for (const target of [-this.pid, this.pid]) {
      try {
        process.kill(target, 'SIGKILL');
      } catch {
        // ESRCH: nobody is left
      }
    }
  }

  #listen(): void {
    const child = this.#process;
    child.on('error', () => {
      // a failed send or kill; the exit event says what matters
    });
    child.on('message', (raw) => {
      const parsed = parseChildMessage(raw);
      if (parsed.kind === 'message') this.#note(parsed.message);
      if (parsed.kind === 'malformed') this.#listener.onMalformed(this, parsed.why);
    });
    if (child.stdout) forwardOutput(child.stdout, (text) => this.#listener.onLine(this, 'stdout', text));
    if (child.stderr) forwardOutput(child.stderr, (text) => this.#listener.onLine(this, 'stderr', text));
    child.once('exit', (code, signal) => {
      this.exit = { code, signal };
      // what the child started must not outlive it, however it ended
      this.#killRemains();
      if (!child.connected) return this.#end();
      const end = (): void => {
        clearTimeout(timer);
        child.off('disconnect', end);
        this.#end();
      };
      const timer = setTimeout(end, LAST_WORDS_MS);
      child.once('disconnect', end);
    });
  }

  #killRemains(): void {
    try {
      process.kill(-this.pid, 'SIGKILL');
    } catch {
      // ESRCH: it left nobody behind
    }
  }

  #end(): void {
    if (this.exit) this.#listener.onExit(this, this.exit);
  }

  #note(message: ChildMessage): void {
    switch (message.type) {
      case 'workerStarted':
        this.workers.push(message.worker);
        break;
      case 'ready':
        this.readyAtMs = Date.now();
        this.concurrency = message.concurrency;
        this.canRelease = message.canRelease;
        break;
      case 'beat':
        this.beatAtMs = Date.now();
        this.beat = message.beat;
        this.concurrency = message.beat.concurrency;
        break;
      case 'uncaught':
        this.uncaught ??= message;
        break;
      case 'drained':
        this.drained = message;
        break;
      case 'released':
      case 'swept':
      case 'draining':
      case 'log':
        break;
    }
    this.#listener.onMessage(this, message);
  }
}
