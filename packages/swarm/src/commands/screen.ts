/** Where commands print. Tests give their own. */
import { once } from 'node:events';

export interface Screen {
  /** Columns of the terminal. */
  width: number;
  /** Resolves when the text is handed over, so that an exit after it cuts nothing off. */
  print(text: string): Promise<void>;
  /** To stderr: what is no part of the answer. */
  note(text: string): void;
}

const DEFAULT_WIDTH = 80;

export function terminalScreen(): Screen {
  const { stdout, stderr, env } = process;
  const fromEnv = Number(env['COLUMNS']);
  return {
    width: stdout.columns || (fromEnv >= 20 ? Math.floor(fromEnv) : DEFAULT_WIDTH),
    note: (text) => void stderr.write(`${text}\n`),
    async print(text) {
      // A reader that closed early (`| head`) has what it wanted.
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
