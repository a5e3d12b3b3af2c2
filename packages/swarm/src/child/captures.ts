/**
 * CPU profiles and heap snapshots of this very process, by an inspector session inside it: no port is opened, and
 * nothing is loaded before somebody asks. Written to a file that only this user can read: a heap holds secrets.
 *
 * A heap snapshot is taken in one go, on this thread: its parts come as events while nothing else turns, and go to the
 * file at once, because together they may be larger than the memory that is left. V8's own progress events
 * must not be asked for: they would run JavaScript in the middle of the work, and the process crashes.
 */
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { Session } from 'node:inspector';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { CaptureKind, ChildMessage, MasterMessage } from '../protocol.js';
import { stateDirectory } from '../redis/state.js';
import { checkOwner } from '../redis/state-owner.js';

type Order = Extract<MasterMessage, { type: 'capture' }>;

const EXTENSIONS: Record<CaptureKind, string> = { profile: 'cpuprofile', heap: 'heapsnapshot' };
/** An order that is withdrawn comes right behind it, where this loop has stood still meanwhile. */
const WITHDRAWAL_MS = 50;
/** A sample each millisecond: what DevTools itself takes. */
const SAMPLING_INTERVAL_US = 1_000;

export class Captures {
  readonly #send: (message: ChildMessage) => void;
  readonly #slot: number;
  #underway: { captureId: string; ended: AbortController } | null = null;

  constructor(slot: number, send: (message: ChildMessage) => void) {
    this.#slot = slot;
    this.#send = send;
  }

  async take(order: Order): Promise<void> {
    const { captureId } = order;
    if (this.#underway)
      return this.#fail(captureId, 'another profile or snapshot of this child is under way');
    const ended = new AbortController();
    this.#underway = { captureId, ended };
    try {
      await this.#toFile(order, ended.signal);
    } catch (error) {
      this.#fail(captureId, error instanceof Error ? error.message : String(error));
    } finally {
      this.#underway = null;
    }
  }

  /** Nobody waits for it any more. */
  withdraw(captureId: string): void {
    if (this.#underway?.captureId === captureId) this.#underway.ended.abort();
  }

  /** The process is about to leave. */
  end(): void {
    this.#underway?.ended.abort();
  }

  async #toFile({ captureId, kind, forMs }: Order, ended: AbortSignal): Promise<void> {
    const { file, descriptor } = openFile(nameOf(kind, this.#slot, captureId));
    const removeAtExit = (): void => rmSync(file, { force: true });
    process.once('exit', removeAtExit);
    const output = new Output(descriptor);
    this.#send({ type: 'captureBegun', captureId, file });
    try {
      await delay(WITHDRAWAL_MS);
      if (!ended.aborted) await (kind === 'heap' ? takeHeap(output) : takeProfile(output, forMs, ended));
      ended.throwIfAborted();
      output.throwIfFailed();
      process.off('exit', removeAtExit);
      this.#send({ type: 'captured', captureId, file, bytes: output.bytes, error: null });
    } catch (error) {
      process.off('exit', removeAtExit);
      rmSync(file, { force: true });
      if (ended.aborted)
        throw new Error('the child leaves, or nobody waits for it any more', { cause: error });
      throw new Error(`${file}: ${(error as Error).message}`, { cause: error });
    } finally {
      closeSync(descriptor);
    }
  }

  #fail(captureId: string, error: string): void {
    this.#send({ type: 'captured', captureId, file: null, bytes: 0, error });
  }
}

async function takeProfile(output: Output, forMs: number, ended: AbortSignal): Promise<void> {
  const session = new Session();
  session.connect();
  try {
    const post = promisify<string, object | undefined, unknown>(session.post).bind(session);
    await post('Profiler.enable', undefined);
    await post('Profiler.setSamplingInterval', { interval: SAMPLING_INTERVAL_US });
    await post('Profiler.start', undefined);
    await delay(forMs, undefined, { signal: ended });
    const { profile } = (await post('Profiler.stop', undefined)) as { profile: object };
    output.write(JSON.stringify(profile));
  } finally {
    session.disconnect();
  }
}

async function takeHeap(output: Output): Promise<void> {
  const session = new Session();
  session.connect();
  try {
    session.on('HeapProfiler.addHeapSnapshotChunk', ({ params }) => output.write(params.chunk));
    await promisify<string, object | undefined, unknown>(session.post).call(
      session,
      'HeapProfiler.takeHeapSnapshot',
      { reportProgress: false },
    );
  } finally {
    session.disconnect();
  }
}

/** Nothing may be thrown into V8 while it hands out a snapshot: the first failure is kept, and the rest let go. */
class Output {
  bytes = 0;
  readonly #descriptor: number;
  #failure: Error | null = null;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  write(text: string): void {
    if (this.#failure) return;
    const buffer = Buffer.from(text);
    try {
      for (let at = 0; at < buffer.length; ) {
        const written = writeSync(this.#descriptor, buffer, at);
        at += written;
        this.bytes += written;
      }
    } catch (error) {
      this.#failure = error as Error;
    }
  }

  throwIfFailed(): void {
    if (this.#failure) throw this.#failure;
  }
}

/** In the first of these directories that takes it; a service of systemd's may have a /tmp of its own. */
function openFile(name: string): { file: string; descriptor: number } {
  const { STATE_DIRECTORY: own = '' } = process.env;
  const capturesIn = (path: string): string => {
    checkOwner([path]);
    const directory = join(path, 'captures');
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    return directory;
  };
  const places = [
    ...own
      .split(':')
      .filter(Boolean)
      .map((path) => () => capturesIn(path)),
    () => capturesIn(stateDirectory()),
    tmpdir,
  ];
  let failure: unknown;
  for (const place of places) {
    try {
      const directory = place();
      const file = join(directory, name);
      // never into a file, or through a link, that is there already
      return { file, descriptor: openSync(file, 'wx', 0o600) };
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

function nameOf(kind: CaptureKind, slot: number, captureId: string): string {
  const at = new Date().toISOString().slice(0, 19).replace(/[-:]/g, '');
  return `swarm-slot${slot}-pid${process.pid}-${at}-${captureId.slice(0, 4)}.${EXTENSIONS[kind]}`;
}
