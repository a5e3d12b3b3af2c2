/**
 * Frames of compiled files → frames of their sources, by the maps that lie beside them. It runs in the watchdog,
 * when a dump is taken, and only for the app's own files: the program itself is not started with `--enable-source-maps`, which would read every
 * map at start and change what its own errors look like. Where the program has turned them on (tsx does), its
 * frames are of sources already, and no map is found for those.
 */
import fs from 'node:fs';
import { SourceMap, type SourceMapPayload } from 'node:module';
import { dirname, isAbsolute, resolve } from 'node:path';
import type { Frame } from '../dump.js';
import { ownerOf, pathOf } from './stack-trace.js';

/** The comment that names the map is at the end of a file. */
const TAIL_BYTES = 4 * 1_024;
/** Larger files are not worth the time. */
const MAX_MAP_BYTES = 6 * 1_024 * 1_024;
/** Of all maps that are kept: 3 MB of mappings fill the thread's small heap, and it would end. */
const MAX_MAPPINGS_LENGTH = 1_000_000;
const COMMENT = /[#@] sourceMappingURL=([^\s'"*]+)\s*(?:\*\/)?\s*$/;
const INLINE = /^data:application\/json[^,]*?(;base64)?,(.*)$/s;

interface FoundMap {
  map: SourceMap;
  /** Relative sources are relative to it. */
  directory: string;
  mappingsLength: number;
}

export class SourceMaps {
  readonly #ownRoot: string;
  /** By file; null: there is none. */
  readonly #maps = new Map<string, FoundMap | null>();
  #mappingsLeft = MAX_MAPPINGS_LENGTH;

  constructor(ownRoot: string) {
    this.#ownRoot = ownRoot;
  }

  toSource(frame: Frame): Frame {
    const { file, line, column, owner } = frame;
    if (owner !== 'app' || file === null || line === null || !isAbsolute(file)) return frame;
    const found = this.#mapOf(file);
    const entry = found?.map.findEntry(line - 1, (column ?? 1) - 1);
    if (!found || !entry || !('originalSource' in entry) || !entry.originalSource) return frame;
    const source = sourcePath(entry.originalSource, found.directory);
    return {
      ...frame,
      file: source,
      line: entry.originalLine + 1,
      column: entry.originalColumn + 1,
      owner: ownerOf(source, this.#ownRoot),
    };
  }

  #mapOf(file: string): FoundMap | null {
    const known = this.#maps.get(file);
    if (known !== undefined) return known;
    const found = readMap(file, this.#mappingsLeft);
    this.#mappingsLeft -= found?.mappingsLength ?? 0;
    this.#maps.set(file, found);
    return found;
  }
}

/** `webpack://app/./src/a.ts` and the like: only the path says something. */
function sourcePath(source: string, directory: string): string {
  if (source.startsWith('file://')) return pathOf(source);
  const [, afterScheme] = /^[a-z-]+:\/\/[^/]*\/(.*)$/i.exec(source) ?? [];
  return afterScheme === undefined ? resolve(directory, source) : afterScheme.replace(/^\.\//, '');
}

/** null: there is none, or a larger one than that. */
function readMap(file: string, maxMappings: number): FoundMap | null {
  try {
    const tail = readTail(file);
    const reference = COMMENT.exec(tail)?.[1];
    if (reference === undefined) return tail.trim().includes('\n') ? null : readInlineMap(file, maxMappings);
    const path = resolve(dirname(file), decodeURIComponent(reference));
    if (reference.startsWith('data:')) return readInlineMap(file, maxMappings);
    if (fs.statSync(path).size > MAX_MAP_BYTES) return null;
    return mapOf(fs.readFileSync(path, 'utf8'), dirname(path), maxMappings);
  } catch {
    // no such file, or no map: the frame stays as it is
    return null;
  }
}

/** The comment of an inline map is longer than the tail: its whole file is read. */
function readInlineMap(file: string, maxMappings: number): FoundMap | null {
  if (fs.statSync(file).size > MAX_MAP_BYTES) return null;
  const text = fs.readFileSync(file, 'utf8');
  const at = text.lastIndexOf('# sourceMappingURL=data:');
  if (at < 0) return null;
  const url = text.slice(at + '# sourceMappingURL='.length).split(/[\s*]/)[0] ?? '';
  const [, base64, data = ''] = INLINE.exec(url) ?? [];
  return mapOf(
    base64 ? Buffer.from(data, 'base64').toString('utf8') : decodeURIComponent(data),
    dirname(file),
    maxMappings,
  );
}

function mapOf(text: string, directory: string, maxMappings: number): FoundMap | null {
  const payload = JSON.parse(text) as SourceMapPayload;
  // a map of maps has them in its parts
  const mappingsLength = payload.mappings?.length ?? text.length;
  if (mappingsLength > maxMappings) return null;
  const root = payload.sourceRoot ? resolve(directory, payload.sourceRoot) : directory;
  // texts of sources are the larger part of it
  const map = new SourceMap({ ...payload, sourceRoot: '', sourcesContent: [] });
  return { map, directory: root, mappingsLength };
}

function readTail(file: string): string {
  const fd = fs.openSync(file, 'r');
  try {
    const { size } = fs.fstatSync(fd);
    const buffer = Buffer.alloc(Math.min(size, TAIL_BYTES));
    fs.readSync(fd, buffer, 0, buffer.length, size - buffer.length);
    return buffer.toString('utf8');
  } finally {
    fs.closeSync(fd);
  }
}
