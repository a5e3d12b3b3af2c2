/**
 * A terminal that is drawn on: the alternate screen, raw keys, and the way back from both, whatever happens.
 *
 * Only lines that changed are written, all of a frame in one write, so that nothing flickers and a slow line (ssh) carries
 * little. A frame that comes while the one before has not gone out is left out: the next one is the whole truth again.
 */
import { writeSync } from 'node:fs';
import { emitKeypressEvents } from 'node:readline';
import type { ReadStream, WriteStream } from 'node:tty';
import { usageError } from '../../errors.js';
import type { Palette } from '../palette.js';
import { cellWidth } from '../terminal-text.js';
import { toAscii } from './ascii.js';
import type { Key } from './model.js';
import type { Line } from './view.js';

/** Alternate screen, no cursor, no wrapping at the right edge; and back. */
const ENTER = '\u001b[?1049h\u001b[?25l\u001b[?7l\u001b[H\u001b[2J';
// some terminals mix what is left here into the screen that comes back, if their size has changed
const LEAVE = '\u001b[2J\u001b[?7h\u001b[?25h\u001b[?1049l';
/** A terminal that knows it shows all of a frame at once; the others ignore it. */
const BEGIN_FRAME = '\u001b[?2026h';
const END_FRAME = '\u001b[?2026l';
const ENDS: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'];
const STDOUT = 1;
const MIN_COLUMNS = 20;
const MIN_ROWS = 6;

export interface TerminalListener {
  onKey(key: Key): void;
  /** Another size, or the screen was lost: draw it anew. */
  onResize(): void;
  /** It is to end: a signal, or the terminal is gone. */
  onEnd(): void;
}

/** @throws SwarmError `SWARM_NO_TERMINAL` where nothing can be drawn */
export function checkTerminal({ stdin, stdout, env }: typeof process): void {
  const instead = 'swarm ps prints the same once, and watch -n 2 swarm ps again and again';
  if (!stdin.isTTY || !stdout.isTTY)
    throw usageError('SWARM_NO_TERMINAL', `swarm top needs a terminal for its input and output; ${instead}`);
  if (env['TERM'] === 'dumb' || !env['TERM']) {
    const term = env['TERM'] ? 'TERM is dumb' : 'TERM is not set';
    throw usageError('SWARM_NO_TERMINAL', `swarm top cannot draw on this terminal (${term}); ${instead}`);
  }
}

export class LiveTerminal {
  readonly #input: ReadStream;
  readonly #output: WriteStream;
  readonly #palette: Palette;
  readonly #isAscii: boolean;
  readonly #listener: TerminalListener;
  /** As they are on the screen. */
  #shown: string[] = [];
  #isEntered = false;

  constructor({ stdin, stdout, env }: typeof process, palette: Palette, listener: TerminalListener) {
    this.#input = stdin;
    this.#output = stdout;
    this.#palette = palette;
    this.#isAscii = !/utf-?8/i.test(env['LC_ALL'] || env['LC_CTYPE'] || env['LANG'] || '');
    this.#listener = listener;
  }

  get width(): number {
    return Math.max(MIN_COLUMNS, this.#output.columns || 80);
  }

  get height(): number {
    return Math.max(MIN_ROWS, this.#output.rows || 24);
  }

  open(): void {
    emitKeypressEvents(this.#input);
    this.#input.on('keypress', this.#onKey);
    this.#output.on('resize', this.#onResize);
    this.#output.on('error', this.#onEnd);
    this.#input.on('end', this.#onEnd);
    for (const signal of ENDS) process.on(signal, this.#onEnd);
    process.on('SIGCONT', this.#onContinue);
    // neither a crash nor an exit in the middle leaves a terminal without cursor and echo
    process.on('exit', this.#restore);
    process.on('uncaughtExceptionMonitor', this.#restore);
    this.#enter();
  }

  close(): void {
    this.#restore();
    this.#input.off('keypress', this.#onKey);
    this.#output.off('resize', this.#onResize);
    this.#output.off('error', this.#onEnd);
    this.#input.off('end', this.#onEnd);
    for (const signal of ENDS) process.off(signal, this.#onEnd);
    process.off('SIGCONT', this.#onContinue);
    process.off('exit', this.#restore);
    process.off('uncaughtExceptionMonitor', this.#restore);
    this.#input.pause();
  }

  draw(lines: readonly Line[]): void {
    if (!this.#isEntered || this.#output.writableNeedDrain) return;
    const painted = lines.map((line) => this.#paint(line));
    const changes = painted.flatMap((text, row) => {
      if (text === this.#shown[row]) return [];
      // behind a line that is full, the cursor still stands on its last cell
      const isFull = cellWidth(lines[row]?.text ?? '') >= this.width || lines[row]?.style === 'header';
      return [`\u001b[${row + 1};1H${text}${isFull ? '' : '\u001b[K'}`];
    });
    this.#shown = painted;
    if (changes.length > 0) this.#output.write(`${BEGIN_FRAME}${changes.join('')}${END_FRAME}`);
  }

  /** As Ctrl-Z does with any program; SIGCONT brings it back. */
  suspend(): void {
    this.#restore();
    // raw mode keeps the terminal from doing it
    process.kill(process.pid, 'SIGTSTP');
  }

  #paint({ text, style }: Line): string {
    const shown = this.#isAscii ? toAscii(text) : text;
    switch (style) {
      case 'title':
        return this.#palette.bold(shown);
      case 'header':
        return this.#palette.inverse(shown.padEnd(this.width));
      case 'selected':
        return this.#palette.bold(shown);
      case 'bad':
        return this.#palette.red(shown);
      case 'dim':
        return this.#palette.dim(shown);
      case 'plain':
        return shown;
    }
  }

  #enter(): void {
    this.#input.setRawMode(true);
    this.#input.resume();
    this.#isEntered = true;
    this.#shown = [];
    this.#output.write(ENTER);
  }

  readonly #restore = (): void => {
    if (!this.#isEntered) return;
    this.#isEntered = false;
    try {
      // what waits in the stream would come after it, and be lost with the process
      writeSync(STDOUT, LEAVE);
      this.#input.setRawMode(false);
    } catch {
      // the terminal is gone
    }
  };

  readonly #onKey = (_text: string | undefined, key: Key): void => this.#listener.onKey(key);

  readonly #onResize = (): void => {
    this.#shown = [];
    // a terminal that grew shows what was there before
    this.#output.write('\u001b[2J');
    this.#listener.onResize();
  };

  readonly #onContinue = (): void => {
    if (!this.#isEntered) this.#enter();
    this.#listener.onResize();
  };

  readonly #onEnd = (): void => this.#listener.onEnd();
}
