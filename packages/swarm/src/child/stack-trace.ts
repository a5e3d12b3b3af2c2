/** V8's text of a stack → frames. Pure. Its forms are those of V8's "Stack trace API" page, and Node's with source maps. */
import { fileURLToPath } from 'node:url';
import type { Frame, FrameOwner } from '../dump.js';

const LINE = /^\s*at (async )?(.*)$/;
/** `name (place)`: the place may hold parentheses itself, the name (with `[as x]`) only rarely. */
const CALL = /^(.*?) \((.*)\)$/;
const POSITION = /^(.*?):(\d+)(?::(\d+))?$/;
const MAX_TEXT = 300;

/** @param ownRoot directory of this package: its frames are not the app's */
export function parseStack(text: string, ownRoot: string): Frame[] {
  return text.split('\n').flatMap((line) => {
    const [, asyncWord, rest] = LINE.exec(line) ?? [];
    return rest === undefined ? [] : [frameOf(rest, asyncWord !== undefined, ownRoot)];
  });
}

function frameOf(text: string, isAsync: boolean, ownRoot: string): Frame {
  const [, name, place] = CALL.exec(text) ?? [];
  const called = (name ?? '').replace(/^async /, '');
  const { file, line, column } = placeOf(place ?? text);
  const isPlace = place !== undefined || file !== null;
  return {
    function: cut(isPlace ? called : text),
    file: file === null ? null : cut(file),
    line,
    column,
    isAsync,
    owner: ownerOf(file, ownRoot),
  };
}

/** `eval at f (file:1:2), <anonymous>:3:4`, `<anonymous>`, `native`, `index 0`, `wasm://wasm/1a2b:wasm-function[0]:0x1d`, a file. */
export function placeOf(place: string): Pick<Frame, 'file' | 'line' | 'column'> {
  const nowhere = { file: null, line: null, column: null };
  const evaluated = /^eval at .*?\(([^()]+:\d+:\d+)\)/.exec(place)?.[1];
  if (evaluated !== undefined) return placeOf(evaluated);
  if (place.startsWith('wasm://')) return { file: place, line: null, column: null };
  const [, path, line, column] = POSITION.exec(place) ?? [];
  if (path === undefined || path === '<anonymous>') return nowhere;
  return { file: pathOf(path), line: Number(line), column: column === undefined ? null : Number(column) };
}

export function pathOf(url: string): string {
  if (!url.startsWith('file://')) return url;
  try {
    return fileURLToPath(url.replace(/[?#].*$/, ''));
  } catch {
    return url;
  }
}

export function ownerOf(file: string | null, ownRoot: string): FrameOwner {
  if (file === null || file.startsWith('wasm://')) return 'native';
  if (file.startsWith('node:')) return 'node';
  return file.includes('/node_modules/') || file.startsWith(ownRoot) ? 'module' : 'app';
}

/** A name that the app has made up may be of any length. */
function cut(text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;
}
