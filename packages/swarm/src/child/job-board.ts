/**
 * The jobs in hand, in shared memory: the watchdog must be able to name them while the main thread is in
 * native code and answers nothing. A place a job; what does not fit is only counted.
 *
 * A place is written length last and cleared length first, so that who reads while it is written sees
 * nothing of it, or at worst a text that does not parse.
 */
import type { DumpJob } from '../dump.js';
import { BOARD_PLACES } from '../watchdog-protocol.js';

const PLACE_BYTES = 512;
const LENGTH_BYTES = Int32Array.BYTES_PER_ELEMENT;
const HEADER_BYTES = Int32Array.BYTES_PER_ELEMENT;
/** Between fields; the last one, a name, may be cut. */
const SEPARATOR = '\0';

export type BoardMemory = SharedArrayBuffer;

/** The main thread's side. */
export class JobBoard {
  readonly memory: BoardMemory = new SharedArrayBuffer(HEADER_BYTES + BOARD_PLACES * PLACE_BYTES);
  readonly #left = new Int32Array(this.memory, 0, 1);
  readonly #places = placesIn(this.memory);
  readonly #free = Array.from({ length: BOARD_PLACES }, (_, index) => BOARD_PLACES - 1 - index);
  readonly #encoder = new TextEncoder();

  /** @returns for `end` */
  begin({ queue, id, name, attempt, startedAtMs }: DumpJob): number | null {
    const index = this.#free.pop();
    const place = index === undefined ? undefined : this.#places[index];
    if (index === undefined || place === undefined) {
      Atomics.add(this.#left, 0, 1);
      return null;
    }
    const head = `${startedAtMs}${SEPARATOR}${attempt ?? ''}${SEPARATOR}${clean(queue)}${SEPARATOR}${clean(id)}${SEPARATOR}`;
    const { read, written } = this.#encoder.encodeInto(`${head}${clean(name)}`, place.bytes);
    // a part of an id would name another job
    Atomics.store(place.length, 0, read < head.length ? 0 : written);
    return index;
  }

  end(index: number | null): void {
    const place = index === null ? undefined : this.#places[index];
    if (index === null || place === undefined) {
      Atomics.sub(this.#left, 0, 1);
      return;
    }
    Atomics.store(place.length, 0, 0);
    this.#free.push(index);
  }
}

/** The watchdog's side: oldest first. */
export function readJobBoard(memory: BoardMemory): DumpJob[] {
  const decoder = new TextDecoder();
  const jobs = placesIn(memory).flatMap(({ length, bytes }) => {
    const size = Atomics.load(length, 0);
    // a copy: no decoder takes shared memory
    return size > 0 ? parseJob(decoder.decode(bytes.slice(0, size))) : [];
  });
  return jobs.sort((a, b) => a.startedAtMs - b.startedAtMs);
}

function parseJob(text: string): DumpJob[] {
  const [startedAt, attempt, queue, id, name] = text.split(SEPARATOR);
  const startedAtMs = Number(startedAt);
  if (queue === undefined || id === undefined || !Number.isFinite(startedAtMs)) return [];
  return [{ queue, id, name: name ?? '', attempt: attempt ? Number(attempt) : null, startedAtMs }];
}

function placesIn(memory: BoardMemory): { length: Int32Array; bytes: Uint8Array }[] {
  return Array.from({ length: BOARD_PLACES }, (_, index) => {
    const at = HEADER_BYTES + index * PLACE_BYTES;
    return {
      length: new Int32Array(memory, at, 1),
      bytes: new Uint8Array(memory, at + LENGTH_BYTES, PLACE_BYTES - LENGTH_BYTES),
    };
  });
}

function clean(text: string): string {
  return text.includes(SEPARATOR) ? text.replaceAll(SEPARATOR, ' ') : text;
}
