/**
 * The size of a process, cheaply: `/proc/<pid>/statm` through a file that stays open. A reading costs 1 to 2 µs
 * of CPU, opening the file each time ten times that.
 *
 * The open file belongs to the process and not to its number: when it is gone, reading fails, whoever has that
 * number by then. Linux counts on each CPU by itself for a while, so a reading may be off by some 100 KB for each
 * CPU that the process ran on.
 */
import fs from 'node:fs';

const MAX_BYTES = 256;
const COMMON_PAGE_BYTES = 4_096;
const AT_PAGESZ = 6n;
const ZERO = 0x30;
const BLANK = 0x20;

export interface ProcessSize {
  rssBytes: number;
  /**
   * Without what is mapped from files, program text above all. After an exec nobody shares it, so that its
   * growth is the growth of PSS, less code that was loaded.
   */
  anonymousBytes: number;
}

export class Statm {
  readonly #file: number;
  readonly #buffer = Buffer.alloc(MAX_BYTES);
  readonly #pageBytes = readPageBytes();

  /** @throws where there is no such process, no `/proc`, or no file to be had */
  constructor(pid: number | 'self') {
    this.#file = fs.openSync(`/proc/${pid}/statm`, 'r');
  }

  /** null: the process is gone. */
  read(): ProcessSize | null {
    try {
      const length = fs.readSync(this.#file, this.#buffer, 0, MAX_BYTES, 0);
      return parseStatm(this.#buffer.subarray(0, length), this.#pageBytes);
    } catch {
      return null;
    }
  }

  close(): void {
    fs.closeSync(this.#file);
  }
}

/** null if it is not what proc(5) says. Read digit by digit: it is done a hundred times a second. */
export function parseStatm(bytes: Uint8Array, pageBytes: number): ProcessSize | null {
  const pages = [0, 0, 0];
  let field = 0;
  for (const byte of bytes) {
    const digit = byte - ZERO;
    if (digit >= 0 && digit <= 9) pages[field] = (pages[field] ?? 0) * 10 + digit;
    else if (byte !== BLANK) return null;
    else if (field++ === 2) break;
  }
  const [, resident = 0, shared = 0] = pages;
  return field < 3
    ? null
    : { rssBytes: resident * pageBytes, anonymousBytes: (resident - shared) * pageBytes };
}

/** What the kernel tells each process at its start: 4096 nearly everywhere, more on some ARM machines. */
function readPageBytes(): number {
  try {
    return pageBytesIn(fs.readFileSync('/proc/self/auxv')) ?? COMMON_PAGE_BYTES;
  } catch {
    return COMMON_PAGE_BYTES;
  }
}

/** Parses `/proc/self/auxv` of a 64-bit process, pairs of key and value; null: the page size is not in it. */
export function pageBytesIn(auxv: Uint8Array): number | null {
  const words = new BigUint64Array(Uint8Array.from(auxv).buffer, 0, Math.floor(auxv.length / 8));
  for (let at = 0; at + 1 < words.length; at += 2) {
    if (words[at] === AT_PAGESZ) return Number(words[at + 1]);
  }
  return null;
}
