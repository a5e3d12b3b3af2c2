/** Where commands print. Tests give their own. */
import { once } from 'node:events';

export interface Screen {
  /** Columns to write in: those of the terminal; more than any text has, where nothing is to be cut. */
  width: number;
  /** Resolves when the text is handed over, so that an exit after it cuts nothing off. */
  print(text: string): Promise<void>;
  /** To stderr: what is no part of the answer. */
  note(text: string): void;
}

const DEFAULT_WIDTH = 80;
const NO_BOUND = 100_000;

/**
 * A pipe or a file has no columns: who reads it searches it, and what is cut off is not found.
 * @param isWide no bound in a terminal either
 */
export function terminalScreen(isWide = false): Screen {
  const { stdout, stderr, env } = process;
  const fromEnv = Number(env['COLUMNS']);
  const asked = fromEnv >= 20 ? Math.floor(fromEnv) : stdout.isTTY ? DEFAULT_WIDTH : NO_BOUND;
  return {
    width: isWide ? NO_BOUND : stdout.columns || asked,
    note: (text) => void stderr.write(`${text}\n`),
    async print(text) {
      // then the whole command ends, see cli.ts
      const closed = once(stdout, 'error').then(() => {});
      const written = new Promise<void>((resolve) => {
        stdout.write(text.endsWith('\n') ? text : `${text}\n`, () => resolve());
      });
      await Promise.race([written, closed]);
    },
  };
}

/** JSON that a terminal may show: what it would obey is escaped; to a JSON parser it is the same. */
export function jsonText(value: unknown): string {
  return JSON.stringify(value, null, 2).replace(
    /[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
    (char) => {
      return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
    },
  );
}
