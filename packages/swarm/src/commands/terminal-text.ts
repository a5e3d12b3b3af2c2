/**
 * Text of others (job ids and names, host names, tags) on a terminal: shown, never obeyed. Escape
 * sequences, line breaks and direction marks are written out, and a width is counted in cells, not in
 * characters.
 */

/** Controls, format marks (direction overrides, joiners), lone surrogates, private and unassigned, separators. */
const UNSAFE = /[\p{C}\p{Zl}\p{Zp}]/gu;
const NAMED: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };
/** East Asian wide and full-width ranges, and what terminals draw as pictures. */
const WIDE =
  /[\u1100-\u115f\u231a\u231b\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{16fe0}-\u{18cff}\u{1aff0}-\u{1b2ff}\u{1f200}-\u{1f2ff}\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}/u;
const COMBINING = /\p{M}/u;

export function safeText(text: string): string {
  return text.replace(UNSAFE, (char) => NAMED[char] ?? `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`);
}

/** Columns that safe text takes. Marks that join a letter take none. */
export function cellWidth(text: string): number {
  let cells = 0;
  for (const char of text) cells += charWidth(char);
  return cells;
}

function charWidth(char: string): number {
  if (char <= '\u02ff') return 1;
  return COMBINING.test(char) ? 0 : WIDE.test(char) ? 2 : 1;
}

/** Cut to `cells` columns, the last of them an ellipsis when something is missing. */
export function cutText(text: string, cells: number): string {
  if (cellWidth(text) <= cells) return text;
  if (cells < 1) return '';
  let kept = '';
  let used = 1;
  for (const char of text) {
    used += charWidth(char);
    if (used > cells) break;
    kept += char;
  }
  return `${kept}…`;
}

export function padText(text: string, cells: number, align: 'left' | 'right'): string {
  const space = ' '.repeat(Math.max(0, cells - cellWidth(text)));
  return align === 'left' ? text + space : space + text;
}

/** Parts on as few lines as fit, two spaces between them, following lines indented. */
export function flowText(parts: readonly string[], width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const part of parts.filter((each) => each !== '')) {
    const joined = line === '' ? part : `${line}  ${part}`;
    if (line === '' || cellWidth(joined) <= width) {
      line = joined;
    } else {
      lines.push(line);
      line = `    ${part}`;
    }
  }
  if (line !== '') lines.push(line);
  return lines.map((each) => cutText(each, width));
}
