/**
 * What children print: bytes to lines, in bounded memory.
 *
 * Lines are cut from bytes, not from decoded text. A newline byte is never part of a longer UTF-8
 * sequence, so each line can be decoded by itself, and how the bytes were chunked cannot show in the
 * result; no decoder state has to survive between chunks. Bytes that are no UTF-8 become U+FFFD. Control
 * characters stay as they are: who prints a line makes it safe for its medium.
 */
import type { Readable } from 'node:stream';

/** A line's text ends here; the rest is counted and thrown away. */
export const MAX_LINE_BYTES = 64 * 1024;

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
/** One byte beyond the limit tells whether the limit falls inside a character. */
const HELD_BYTES = MAX_LINE_BYTES + 1;
const FIRST_HELD_BYTES = 1024;

export class LineSplitter {
  /** The beginning of the unfinished line. */
  #held = Buffer.allocUnsafeSlow(FIRST_HELD_BYTES);
  #lineBytes = 0;
  #lastByte = 0;

  /** The lines that this chunk ends, without their line ends (`\n` or `\r\n`). */
  feed(chunk: Buffer): string[] {
    const lines: string[] = [];
    const last = chunk.lastIndexOf(NEWLINE);
    if (last !== -1) {
      const first = chunk.indexOf(NEWLINE);
      lines.push(this.#finishLine(chunk.subarray(0, first)));
      if (first < last) decodeLines(chunk.subarray(first + 1, last), lines);
    }
    this.#hold(chunk.subarray(last + 1));
    return lines;
  }

  /** The last line, where its newline never came; at most one. */
  end(): string[] {
    return this.#lineBytes === 0 ? [] : [this.#finishLine(Buffer.alloc(0))];
  }

  #finishLine(tail: Buffer): string {
    if (this.#lineBytes === 0) return decodeLine(tail, tail.length, tail.at(-1));
    this.#hold(tail);
    const line = decodeLine(this.#held, this.#lineBytes, this.#lastByte);
    this.#lineBytes = 0;
    // Hundreds of children that once printed a long line must not keep 64 KiB each.
    if (this.#held.length > FIRST_HELD_BYTES) this.#held = Buffer.allocUnsafeSlow(FIRST_HELD_BYTES);
    return line;
  }

  #hold(bytes: Buffer): void {
    if (bytes.length === 0) return;
    const heldBytes = Math.min(this.#lineBytes, HELD_BYTES);
    const wantedBytes = Math.min(heldBytes + bytes.length, HELD_BYTES);
    if (wantedBytes > this.#held.length) {
      const grown = Buffer.allocUnsafeSlow(
        Math.min(HELD_BYTES, Math.max(wantedBytes, 2 * this.#held.length)),
      );
      this.#held.copy(grown, 0, 0, heldBytes);
      this.#held = grown;
    }
    bytes.copy(this.#held, heldBytes, 0, wantedBytes - heldBytes);
    this.#lineBytes += bytes.length;
    this.#lastByte = bytes.at(-1) ?? 0;
  }
}

/** Decodes whole lines with newlines between them. In one go, where none can be too long: five times faster. */
function decodeLines(block: Buffer, lines: string[]): void {
  if (block.length <= MAX_LINE_BYTES) {
    for (const line of block.toString('utf8').split('\n'))
      lines.push(line.endsWith('\r') ? line.slice(0, -1) : line);
    return;
  }
  for (let from = 0; from <= block.length; ) {
    const newline = block.indexOf(NEWLINE, from);
    const to = newline === -1 ? block.length : newline;
    const line = block.subarray(from, to);
    lines.push(decodeLine(line, line.length, line.at(-1)));
    from = to + 1;
  }
}

/** @param bytes the line, or at least its first `HELD_BYTES` */
function decodeLine(bytes: Buffer, lineBytes: number, lastByte: number | undefined): string {
  const length = lineBytes > 0 && lastByte === CARRIAGE_RETURN ? lineBytes - 1 : lineBytes;
  if (length <= MAX_LINE_BYTES) return bytes.toString('utf8', 0, length);
  const end = characterStart(bytes, MAX_LINE_BYTES);
  return `${bytes.toString('utf8', 0, end)} … [cut, ${length - end} bytes more]`;
}

/** The nearest place at or before `at` where a UTF-8 character begins; `at` itself where there is none. */
function characterStart(bytes: Buffer, at: number): number {
  for (let start = at; start > at - 4 && start >= 0; start -= 1) {
    if (((bytes[start] ?? 0) & 0xc0) !== 0x80) return start;
  }
  return at;
}

/**
 * Calls `onLine` for each line of a child's stdout or stderr, the unfinished last one included. Never
 * pauses the stream: a child must not wait for whoever reads the master's output.
 */
export function forwardOutput(stream: Readable, onLine: (text: string) => void): void {
  const splitter = new LineSplitter();
  const end = (): void => {
    for (const line of splitter.end()) onLine(line);
  };
  stream.on('data', (chunk: Buffer) => {
    for (const line of splitter.feed(chunk)) onLine(line);
  });
  stream.on('end', end);
  // A destroyed stream closes without an end.
  stream.on('close', end);
  // A read error ends the output; what became of the child is told by its exit.
  stream.on('error', () => {});
}

/** The last lines of a child's stderr: kept for the record of its death. */
export class LastLines {
  readonly #maxLines: number;
  readonly #maxBytes: number;
  #lines: { text: string; bytes: number }[] = [];
  #bytes = 0;

  constructor(maxLines = 50, maxBytes = 8 * 1024) {
    this.#maxLines = maxLines;
    this.#maxBytes = maxBytes;
  }

  push(line: string): void {
    const bytes = Buffer.byteLength(line);
    const kept = bytes <= this.#maxBytes ? { text: line, bytes } : truncate(line, this.#maxBytes);
    this.#lines.push(kept);
    this.#bytes += kept.bytes;
    while (this.#lines.length > this.#maxLines || this.#bytes > this.#maxBytes) {
      this.#bytes -= this.#lines.shift()?.bytes ?? 0;
    }
  }

  /** Oldest first. */
  lines(): string[] {
    return this.#lines.map((line) => line.text);
  }
}

/** The beginning of a line. Copied: a substring would keep the long line alive. */
function truncate(line: string, maxBytes: number): { text: string; bytes: number } {
  const all = Buffer.from(line);
  const bytes = characterStart(all, maxBytes);
  return { text: all.toString('utf8', 0, bytes), bytes };
}
