/**
 * The master's end of one child: its facts, its messages, its output and its end. It decides nothing.
 *
 * The end is announced once, when the process has exited *and* the IPC channel is read to its end: what
 * a child said with its last breath (which jobs it took, what killed it) counts.
 */
import type { ChildProcess } from 'node:child_process';
import { Duplex } from 'node:stream';
import { isSameRun } from '../active-job.js';
import type { ActiveJob, Beat, ChildMessage, JobRef, MasterMessage, WorkerInfo } from '../protocol.js';
import { parseChildMessage, wrap } from '../protocol.js';
import { BOARD_PLACES, WATCHDOG_FD, type WatchdogMessage } from '../watchdog-protocol.js';
import { heapOomLine, isAbort } from './exit-cause.js';
import type { Forked } from './fork.js';
import { forwardOutput, LastLines } from './output.js';
import { readStartTicks } from './proc.js';
import { WatchdogPipe } from './watchdog-pipe.js';

/** A pipe that the kernel has closed is read to its end well within this. */
const LAST_WORDS_MS = 100;
/** What V8 says before it aborts is said last. */
const FATAL_LINE_MS = 10_000;
const MAX_ADDONS = 100;
/** Beyond this many unsent bytes the child does not read its messages: more would only pile up. */
const MAX_QUEUED_BYTES = 1 << 20;

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface ChildListener {
  onMessage(child: ChildHandle, message: ChildMessage): void;
  onWatchdog(child: ChildHandle, message: WatchdogMessage): void;
  onMalformed(child: ChildHandle, why: string): void;
  onLine(child: ChildHandle, stream: 'stdout' | 'stderr', text: string): void;
  onExit(child: ChildHandle, exit: Exit): void;
}

/** It has said that it holds no job any more. */
export function isDrained({ drained }: Pick<ChildHandle, 'drained'>): boolean {
  return drained !== null && drained.error === null && !drained.left?.length;
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
  /** It may hold leases of limiters. */
  usesLimits = false;
  readonly workers: WorkerInfo[] = [];
  /** Also one that was closed since. */
  hadWorker = false;
  /** Jobs in its hands that wait for their turn to run alone. */
  waiting: JobRef[] = [];
  /** Of its queues, those with a timeout of their own; null: none at all. */
  readonly jobTimeouts = new Map<string, number | null>();
  uncaught: Extract<ChildMessage, { type: 'uncaught' }> | null = null;
  /** Before it was ready: what its Workers last said of their connections. */
  bootTrouble: string | null = null;
  drained: Extract<ChildMessage, { type: 'drained' }> | null = null;
  exit: Exit | null = null;
  /** Its last lines. */
  readonly stderr = new LastLines();
  /** Native addons that it has loaded: files. */
  readonly addons: string[] = [];

  /** null: it has none. */
  readonly watchdog: WatchdogPipe | null;

  /** null: nothing since the last beat. */
  #jobsSeen: ActiveJob[] | null = null;
  #heapOom: { line: string; atMs: number } | null = null;
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
    this.watchdog = this.#openWatchdog();
    this.#listen();
  }

  /** Jobs it was last known to run. */
  get jobs(): readonly ActiveJob[] {
    const seen = this.#jobsSeen;
    const told = this.beat?.jobs ?? [];
    if (seen === null) return told;
    if (seen.length < BOARD_PLACES) return seen;
    // there may be more than it has places for
    return [...seen, ...told.filter((job) => !seen.some((other) => isSameRun(other, job)))];
  }

  /** What its watchdog has seen in its hands: a loop that stood still since a job's first moment sent no beat of it. */
  sawJobs(jobs: readonly ActiveJob[]): void {
    this.#jobsSeen = jobs.map(({ queue, id, name, startedAtMs }) => ({ queue, id, name, startedAtMs }));
  }

  /** V8's last words, if they are about a full heap; a sandboxed processor may have said them long before. */
  get heapOom(): string | null {
    const said = this.#heapOom;
    return said && performance.now() - said.atMs < FATAL_LINE_MS ? said.line : null;
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
    // its pid may be another's by now; who was left in its group is killed already
    if (this.exit) return;
    for (const target of [-this.pid, this.pid]) {
      try {
        process.kill(target, 'SIGKILL');
      } catch {
        // ESRCH: nobody is left
      }
    }
  }

  #openWatchdog(): WatchdogPipe | null {
    const pipe: unknown = this.#process.stdio[WATCHDOG_FD];
    if (!(pipe instanceof Duplex)) return null;
    return new WatchdogPipe(pipe, {
      onMessage: (message) => this.#listener.onWatchdog(this, message),
      onMalformed: (why) => this.#listener.onMalformed(this, why),
    });
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
    if (child.stderr) forwardOutput(child.stderr, (text) => this.#onStderr(text));
    child.once('exit', (code, signal) => {
      this.exit = { code, signal };
      // what the child started must not outlive it, however it ended
      this.#killRemains();
      void this.#lastWords(signal).then(() => this.#end());
    });
  }

  #onStderr(text: string): void {
    this.stderr.push(text);
    const line = heapOomLine(text);
    if (line !== null) this.#heapOom = { line, atMs: performance.now() };
    this.#listener.onLine(this, 'stderr', text);
  }

  /** Resolves when all that the child said has been read; of an abort, V8's message is a part. */
  async #lastWords(signal: NodeJS.Signals | null): Promise<void> {
    const { connected, stderr } = this.#process;
    const awaited: Promise<unknown>[] = [];
    if (connected) awaited.push(new Promise((resolve) => this.#process.once('disconnect', resolve)));
    if (isAbort(signal) && stderr && !stderr.closed) {
      awaited.push(new Promise((resolve) => stderr.once('close', resolve)));
    }
    if (awaited.length === 0) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      // a loop that was late itself reads what has come meanwhile before it gives up
      timer = setTimeout(() => setImmediate(resolve), LAST_WORDS_MS);
    });
    await Promise.race([Promise.all(awaited), late]);
    clearTimeout(timer);
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
        this.hadWorker = true;
        this.workers.push(message.worker);
        break;
      case 'workerEnded': {
        const { queue, tokenPrefix } = message.worker;
        const at = this.workers.findIndex(
          (known) => known.queue === queue && known.tokenPrefix === tokenPrefix,
        );
        if (at !== -1) this.workers.splice(at, 1);
        break;
      }
      case 'ready':
        this.readyAtMs = Date.now();
        this.concurrency = message.concurrency;
        this.canRelease = message.canRelease;
        break;
      case 'beat':
        this.beatAtMs = Date.now();
        this.beat = message.beat;
        this.#jobsSeen = null;
        this.concurrency = message.beat.concurrency;
        break;
      case 'waiting':
        this.waiting = message.jobs;
        break;
      case 'jobTimeouts':
        for (const { queue, timeoutMs } of message.queues) this.jobTimeouts.set(queue, timeoutMs);
        break;
      case 'uncaught':
        this.uncaught ??= message;
        break;
      case 'drained':
        this.drained = message;
        break;
      case 'bootTrouble':
        this.bootTrouble = message.message;
        break;
      case 'limitsUsed':
        this.usesLimits = true;
        break;
      case 'addonLoaded':
        if (this.addons.length < MAX_ADDONS && !this.addons.includes(message.file))
          this.addons.push(message.file);
        break;
      case 'releasing':
      case 'released':
      case 'swept':
      case 'leasesFreed':
      case 'locksExtended':
      case 'notConsuming':
      case 'queueSeen':
      case 'jobMemory':
      case 'jobDurations':
      case 'captureBegun':
      case 'captured':
      case 'draining':
      case 'log':
        break;
    }
    this.#listener.onMessage(this, message);
  }
}
