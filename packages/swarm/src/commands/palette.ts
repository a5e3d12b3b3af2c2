/** Colours of a terminal, where it has some and they are wanted: https://no-color.org. */
export interface Palette {
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
  yellow(text: string): string;
  green(text: string): string;
  /** Foreground and background changed. */
  inverse(text: string): string;
}

const RESET = '\u001b[0m';
const CODES = { bold: 1, dim: 2, red: 31, yellow: 33, green: 32, inverse: 7 } as const;

export function paletteOf(env: NodeJS.ProcessEnv, isTty: boolean): Palette {
  const wanted = isTty && !env['NO_COLOR'] && env['TERM'] !== 'dumb';
  return wanted ? colours : plain;
}

const paint = (code: number) => (text: string) => (text === '' ? '' : `\u001b[${code}m${text}${RESET}`);
const colours: Palette = {
  bold: paint(CODES.bold),
  dim: paint(CODES.dim),
  red: paint(CODES.red),
  yellow: paint(CODES.yellow),
  green: paint(CODES.green),
  inverse: paint(CODES.inverse),
};

const same = (text: string): string => text;
export const plain: Palette = { bold: same, dim: same, red: same, yellow: same, green: same, inverse: same };
