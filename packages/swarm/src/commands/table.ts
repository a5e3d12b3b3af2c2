/**
 * Plain text tables that fit the width they are given. When the content is wider, in this order: the gaps
 * shrink, titles take their short form, columns that may be cut are cut, the widest first, then
 * columns that may be missing go. Nothing wraps: a line of output is a row.
 */
import { cellWidth, cutText, padText, safeText } from './terminal-text.js';

export interface Column {
  title: string;
  /** Used when there is no room for the title. */
  shortTitle?: string;
  align?: 'left' | 'right';
  /** Its cells may be cut down to so many columns. Without it they are not cut. */
  cutTo?: number;
  /** It may be left out; the highest goes first. */
  dropOrder?: number;
}

interface Layout {
  columns: readonly Column[];
  cells: readonly (readonly string[])[];
}

/** Cells may hold anything; they are made safe for a terminal. `width` is at least 1. */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
): string[] {
  let layout: Layout = {
    columns,
    cells: rows.map((row) => columns.map((_, index) => safeText(row[index] ?? ''))),
  };
  for (;;) {
    const fitted = fitInto(layout, width);
    if (fitted) return render(layout, fitted, width);
    const droppable = droppableIn(layout.columns);
    if (droppable === -1) return render(layout, squeeze(layout, width), width);
    layout = without(layout, droppable);
  }
}

interface Fitted {
  titles: readonly string[];
  widths: readonly number[];
  gap: number;
}

/** null: too wide, whatever is cut. */
function fitInto(layout: Layout, width: number): Fitted | null {
  const long = layout.columns.map(({ title }) => title);
  const short = layout.columns.map(({ title, shortTitle }) => shortTitle ?? title);
  for (const [titles, gap] of [
    [long, 2],
    [long, 1],
    [short, 1],
  ] as const) {
    const widths = naturalWidths(layout, titles);
    if (total(widths, gap) <= width) return { titles, widths, gap };
  }
  const squeezed = squeeze(layout, width);
  return total(squeezed.widths, squeezed.gap) <= width ? squeezed : null;
}

function squeeze(layout: Layout, width: number): Fitted {
  const titles = layout.columns.map(({ title, shortTitle }) => shortTitle ?? title);
  const widths = naturalWidths(layout, titles);
  for (let excess = total(widths, 1) - width; excess > 0; excess -= 1) {
    let widest = -1;
    for (const [index, { cutTo }] of layout.columns.entries()) {
      const own = widths[index] ?? 0;
      if (cutTo !== undefined && own > cutTo && own > (widths[widest] ?? 0)) widest = index;
    }
    if (widest === -1) break;
    widths[widest] = (widths[widest] ?? 0) - 1;
  }
  return { titles, widths, gap: 1 };
}

function naturalWidths({ cells }: Layout, titles: readonly string[]): number[] {
  return titles.map((title, index) =>
    Math.max(cellWidth(title), ...cells.map((row) => cellWidth(row[index] ?? ''))),
  );
}

function total(widths: readonly number[], gap: number): number {
  return widths.reduce((sum, each) => sum + each, 0) + gap * Math.max(0, widths.length - 1);
}

function droppableIn(columns: readonly Column[]): number {
  let found = -1;
  for (const [index, { dropOrder }] of columns.entries()) {
    if (dropOrder !== undefined && dropOrder > (columns[found]?.dropOrder ?? 0)) found = index;
  }
  return found;
}

function without({ columns, cells }: Layout, dropped: number): Layout {
  return {
    columns: columns.filter((_, index) => index !== dropped),
    cells: cells.map((row) => row.filter((_, index) => index !== dropped)),
  };
}

function render({ columns, cells }: Layout, { titles, widths, gap }: Fitted, width: number): string[] {
  return [titles, ...cells].map((row) => {
    const padded = columns.map((column, index) => {
      const own = widths[index] ?? 0;
      return padText(cutText(row[index] ?? '', own), own, column.align ?? 'left');
    });
    return cutText(padded.join(' '.repeat(gap)).trimEnd(), width);
  });
}
