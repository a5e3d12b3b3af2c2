import fs from 'node:fs';
import net from 'node:net';
import tty from 'node:tty';

/**
 * A bounded writer to a file descriptor that never waits for its reader.
 *
 * A master that waits for whoever reads its log (a terminal after Ctrl-S, a pager, a stalled log shipper)
 * supervises nothing meanwhile. `process.stdout` is no way out: on a terminal it blocks, on a pipe it
 * buffers without bound.
 *
 * Invariants: no call waits (writes to regular files aside, which are as fast as their disk); at most
 * `limitBytes` are held; lines are kept or dropped whole, and each dropped one is counted; a destination
 * that fails is never an exception. At most one write is in flight, so that what is held is known exactly.
 *
 * Lines are copied into chunks of 64 KiB: a flood of short lines costs one system call a chunk and no
 * more memory than its bytes. A list of strings, the first idea, took eight times its limit.
 */
export class OutputSink {
  readonly isTty: boolean;
  readonly #destination: Destination;
  readonly #limitBytes: number;
  #state: SinkState = 'open';
  #open: Chunk = newChunk();
  #sealed: Chunk[] = [];
  #inFlight: Chunk | null = null;
  #spare: Buffer | null = null;
  #bufferedBytes = 0;
  #total: Dropped = { lines: 0, bytes: 0 };
  #taken: Dropped = { lines: 0, bytes: 0 };
  #turn: NodeJS.Immediate | null = null;
  #waiters = new Set<() => void>();

  constructor(options: OutputSinkOptions = {}) {
    const fd = options.fd ?? 1;
    this.#limitBytes = options.limitBytes ?? DEFAULT_LIMIT_BYTES;
    this.isTty = tty.isatty(fd);
    this.#destination = openDestination(fd, () => this.#close());
  }

  /** Bytes taken and not yet handed to the operating system. */
  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  /** What was dropped since the sink was made. */
  get dropped(): Dropped {
    return { ...this.#total };
  }

  /** Whether the reader is gone for good. */
  get closed(): boolean {
    return this.#state === 'closed';
  }

  /**
   * Takes one line, its newline included, or several that belong together. False: it was dropped. A line of
   * swarm's `own` has some room left when a child's flood has filled the rest.
   */
  write(line: string | Buffer, priority: 'own' | 'relayed' = 'relayed'): boolean {
    const bytes = typeof line === 'string' ? Buffer.byteLength(line) : line.length;
    const isOwn = priority === 'own';
    const isTooMuch = this.#bufferedBytes + bytes > this.#limitBytes + (isOwn ? RESERVE_BYTES : 0);
    if (isTooMuch && this.#state === 'open' && !this.#hasHalfFree()) this.#state = 'full';
    if (isTooMuch || this.#state === 'closed' || (this.#state === 'full' && !isOwn)) {
      this.#drop(1, bytes);
      return false;
    }
    this.#append(line, bytes);
    if (this.#sealed.length > 0) this.#pump();
    else if (this.#inFlight === null) this.#turn ??= setImmediate(() => this.#pump());
    return true;
  }

  /** What was dropped since the last call, or null: nothing, or there is no room yet to tell of it. */
  takeDropped(): Dropped | null {
    if (this.#total.lines === this.#taken.lines || this.#state !== 'open') return null;
    const dropped = {
      lines: this.#total.lines - this.#taken.lines,
      bytes: this.#total.bytes - this.#taken.bytes,
    };
    this.#taken = { ...this.#total };
    return dropped;
  }

  /** Hands over at once what the reader takes without waiting: for a listener of the process's `exit`. */
  flushSync(): void {
    this.#pump();
  }

  /**
   * For the end of a process. Resolves when all is written, the reader is gone, or the time is up. In the
   * last case the reader is given up: what is left is dropped, and nothing keeps the process alive.
   */
  async flush(timeoutMs: number): Promise<void> {
    this.#pump();
    if (this.#bufferedBytes === 0) return;
    await new Promise<void>((resolve) => {
      const finish = (): void => {
        clearTimeout(timer);
        this.#waiters.delete(finish);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#destination.release();
        this.#close();
      }, timeoutMs);
      this.#waiters.add(finish);
    });
  }

  #append(line: string | Buffer, bytes: number): void {
    this.#bufferedBytes += bytes;
    if (this.#open.bytes + bytes > CHUNK_BYTES) this.#seal();
    if (bytes > CHUNK_BYTES) {
      this.#sealed.push({
        buffer: typeof line === 'string' ? Buffer.from(line) : Buffer.from(line),
        bytes,
        lines: 1,
      });
      return;
    }
    const chunk = this.#open;
    if (typeof line === 'string') chunk.buffer.write(line, chunk.bytes);
    else line.copy(chunk.buffer, chunk.bytes);
    chunk.bytes += bytes;
    chunk.lines += 1;
  }

  #seal(): void {
    if (this.#open.bytes === 0) return;
    this.#sealed.push(this.#open);
    this.#open = newChunk(this.#spare);
    this.#spare = null;
  }

  #pump(): void {
    if (this.#turn !== null) clearImmediate(this.#turn);
    this.#turn = null;
    while (this.#inFlight === null && this.#bufferedBytes > 0) {
      if (this.#sealed.length === 0) this.#seal();
      const chunk = this.#sealed.shift();
      if (chunk === undefined) return;
      this.#inFlight = chunk;
      const result = this.#destination.write(chunk.buffer.subarray(0, chunk.bytes), (late) => {
        this.#onWritten(chunk, late);
        this.#pump();
      });
      if (result !== null) this.#onWritten(chunk, result);
    }
  }

  #onWritten(chunk: Chunk, result: WriteResult): void {
    // The reader's end can be noticed elsewhere first, and then everything was counted there.
    if (this.#inFlight !== chunk) return;
    this.#inFlight = null;
    this.#bufferedBytes -= chunk.bytes;
    if (result.writtenBytes < chunk.bytes) {
      const rest = chunk.buffer.subarray(result.writtenBytes, chunk.bytes);
      this.#drop(Math.min(chunk.lines, Math.max(1, countNewlines(rest))), rest.length);
    }
    if (chunk.buffer.length === CHUNK_BYTES) this.#spare = chunk.buffer;
    if (result.outcome === 'gone') this.#close();
    else if (result.outcome === 'refused') this.#state = 'failing';
    else if (this.#state === 'failing' || this.#hasHalfFree()) this.#state = 'open';
    this.#settle();
  }

  /** Room for half, not for one line, ends a gap: else a slow reader would see one every few lines. */
  #hasHalfFree(): boolean {
    return this.#bufferedBytes <= this.#limitBytes / 2;
  }

  #close(): void {
    this.#state = 'closed';
    const open = this.#open;
    for (const chunk of [this.#inFlight, ...this.#sealed, open]) {
      if (chunk !== null) this.#drop(chunk.lines, chunk.bytes);
    }
    this.#inFlight = null;
    this.#sealed = [];
    this.#open = newChunk(open.buffer);
    this.#bufferedBytes = 0;
    this.#settle();
  }

  #settle(): void {
    if (this.#bufferedBytes > 0) return;
    for (const finish of this.#waiters) finish();
  }

  #drop(lines: number, bytes: number): void {
    this.#total.lines += lines;
    this.#total.bytes += bytes;
  }
}

export interface OutputSinkOptions {
  /** Default 1, stdout. */
  fd?: number;
  /** Bytes held for a slow reader before lines are dropped. Default 8 MiB. */
  limitBytes?: number;
}

export interface Dropped {
  lines: number;
  bytes: number;
}

/** `full`: drops until half the limit is free. `failing`: the last write was refused, as by a full disk; goes on trying. */
type SinkState = 'open' | 'full' | 'failing' | 'closed';

interface Chunk {
  buffer: Buffer;
  bytes: number;
  lines: number;
}

interface WriteResult {
  writtenBytes: number;
  outcome: 'written' | 'refused' | 'gone';
}

interface Destination {
  /** The result, or null: `done` will be called with it, unless the destination reports its own end before. */
  write(bytes: Buffer, done: (result: WriteResult) => void): WriteResult | null;
  /** Gives up a write that waits for the reader. */
  release(): void;
}

/** Some thousands of lines: what happens to children is told also while one of them floods. */
const RESERVE_BYTES = 1 << 20;
const DEFAULT_LIMIT_BYTES = 8 * 1024 * 1024;
const CHUNK_BYTES = 64 * 1024;
const NEWLINE = 0x0a;

function newChunk(buffer: Buffer | null = null): Chunk {
  return { buffer: buffer ?? Buffer.allocUnsafeSlow(CHUNK_BYTES), bytes: 0, lines: 0 };
}

function openDestination(fd: number, onGone: () => void): Destination {
  const stream = openStream(fd);
  return stream === null ? fileDestination(fd) : streamDestination(stream, onGone);
}

/** A stream for terminals, pipes and sockets; null for files, devices and what Node knows no stream for. */
function openStream(fd: number): net.Socket | null {
  const isTerminal = tty.isatty(fd);
  if (!isTerminal && !isPipeOrSocket(fd)) return null;
  // Two handles on one descriptor would take each other's "writable again", so that a stray console.log
  // could silence the log: where Node has a stream for this descriptor, it is that one.
  const standard = fd === 1 ? process.stdout : fd === 2 ? process.stderr : null;
  if (standard instanceof net.Socket) return standard;
  try {
    return isTerminal ? new tty.WriteStream(fd) : new net.Socket({ fd, readable: false, writable: true });
  } catch {
    return null;
  }
}

function isPipeOrSocket(fd: number): boolean {
  try {
    const stats = fs.fstatSync(fd);
    return stats.isFIFO() || stats.isSocket();
  } catch {
    return false;
  }
}

function streamDestination(stream: net.Socket, onGone: () => void): Destination {
  stream.on('error', onGone);
  stream.on('close', onGone);
  // Node makes terminals blocking: Ctrl-S would stop the master. libuv has opened the terminal anew for
  // itself, so the descriptor that the shell holds stays as it is.
  callHandle(stream, 'setBlocking', false);
  return {
    write(bytes, done) {
      stream.write(bytes, (error) => {
        done(
          error ? { writtenBytes: 0, outcome: 'gone' } : { writtenBytes: bytes.length, outcome: 'written' },
        );
      });
      return null;
    },
    release() {
      // A pending write keeps a process alive, whatever unref() says. Node makes destroy() do nothing on
      // stdout, hence the handle; libuv leaves the descriptor itself open.
      stream.destroy();
      callHandle(stream, 'close');
    },
  };
}

/** Calls what Node has no public way to, on the stream's handle; nothing where it were missing one day. */
function callHandle(stream: net.Socket, method: string, ...parameters: unknown[]): void {
  const handle: unknown = Reflect.get(stream, '_handle');
  if (typeof handle !== 'object' || handle === null) return;
  const call: unknown = Reflect.get(handle, method);
  if (typeof call === 'function') Reflect.apply(call, handle, parameters);
}

function fileDestination(fd: number): Destination {
  let endsInsideLine = false;
  return {
    write(bytes) {
      let writtenBytes = 0;
      let outcome: WriteResult['outcome'] = 'written';
      try {
        if (endsInsideLine) fs.writeSync(fd, '\n');
        endsInsideLine = false;
        while (writtenBytes < bytes.length) writtenBytes += fs.writeSync(fd, bytes, writtenBytes);
      } catch (error) {
        outcome = isGone(error) ? 'gone' : 'refused';
        if (writtenBytes > 0) endsInsideLine = bytes[writtenBytes - 1] !== NEWLINE;
      }
      return { writtenBytes, outcome };
    },
    release() {},
  };
}

function isGone(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  return code === 'EPIPE' || code === 'EBADF';
}

function countNewlines(bytes: Buffer): number {
  let lines = 0;
  for (let at = bytes.indexOf(NEWLINE); at !== -1; at = bytes.indexOf(NEWLINE, at + 1)) lines += 1;
  return lines;
}
