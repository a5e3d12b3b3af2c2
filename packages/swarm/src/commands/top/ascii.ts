/** Curves in eight steps, and how they look on a terminal that knows no Unicode. */
export const BARS = '▁▂▃▄▅▆▇█';

const ASCII_BARS = '.:-=+*%#';
const ASCII_MARKS: Readonly<Record<string, string>> = { '…': '~', '▾': 'v', '▴': '^' };

/** For terminals that know no Unicode. */
export function toAscii(text: string): string {
  return text.replace(/[^ -~]/gu, (char) => {
    const bar = BARS.indexOf(char);
    return bar >= 0 ? (ASCII_BARS[bar] ?? '?') : (ASCII_MARKS[char] ?? '?');
  });
}
