/** The findings of `swarm doctor`, for people. Pure. Text of others (queue names, command lines) is shown, never obeyed. */
import { type Finding, SECTIONS, type Status } from '../doctor/index.js';
import type { Palette } from './palette.js';
import { cellWidth, cutText, padText, safeText } from './terminal-text.js';

export interface ReportHead {
  /** Redacted; null: there is none. */
  url: string | null;
  namespace: string;
  host: string;
}

const MARKS: Record<Status, string> = { ok: 'ok', warn: 'WARN', fail: 'FAIL' };
const SKIPPED = '-';
const MARK_WIDTH = 6;
/** Below its check's name stands what belongs to it. */
const INDENT = MARK_WIDTH + 2;
const MIN_WIDTH = 40;

export function doctorReport(
  findings: readonly Finding[],
  { url, namespace, host }: ReportHead,
  width: number,
  palette: Palette,
): string {
  const room = Math.max(MIN_WIDTH, width);
  const nameWidth = Math.max(...findings.map(({ check }) => check.length), 1) + 2;
  const head = wrap(`namespace ${namespace} on ${url ?? 'no Redis'}, host ${host}`, room, 0);
  const sections = SECTIONS.flatMap((section) => {
    const own = findings.filter((finding) => finding.section === section);
    if (own.length === 0) return [];
    return [
      '',
      palette.bold(section),
      ...merged(own).flatMap((finding) => findingLines(finding, nameWidth, room, palette)),
    ];
  });
  return [...head, ...sections, '', ...wrap(summaryOf(findings), room, 0)].join('\n');
}

/** What was skipped for one reason, as one line: without a Redis that would be most of the report. */
function merged(findings: readonly Finding[]): Finding[] {
  const alike = ({ skipped, found }: Finding) =>
    skipped ? findings.filter((other) => other.skipped && other.found === found) : [];
  return findings.flatMap((finding) => {
    const all = alike(finding);
    if (all.length <= 1) return [finding];
    return all[0] === finding ? [{ ...finding, check: `${all.length} checks` }] : [];
  });
}

function findingLines(finding: Finding, nameWidth: number, width: number, palette: Palette): string[] {
  const { check, found, details, why, cure } = finding;
  const column = MARK_WIDTH + nameWidth + 2;
  const [first = '', ...rest] = wrap(found, width, column);
  const head = `  ${markOf(finding, palette)}${check.padEnd(nameWidth)}${first.slice(column)}`;
  const more = details.flatMap((detail) => wrap(detail, width, column));
  if (finding.status === 'ok') return [head, ...rest, ...more];
  return [
    head,
    ...rest,
    ...more,
    ...(why === null ? [] : labelled('why', why, width, palette)),
    ...cure.flatMap((step, index) => labelled(index === 0 ? 'do' : '', step, width, palette)),
  ];
}

function markOf({ status, skipped }: Finding, palette: Palette): string {
  const mark = (skipped ? SKIPPED : MARKS[status]).padEnd(MARK_WIDTH);
  if (skipped) return palette.dim(mark);
  return status === 'ok' ? palette.green(mark) : status === 'warn' ? palette.yellow(mark) : palette.red(mark);
}

function labelled(label: string, text: string, width: number, palette: Palette): string[] {
  const [first = '', ...rest] = wrap(text, width, INDENT + 5);
  const name = padText(label, 5, 'left');
  return [
    `${' '.repeat(INDENT)}${label === '' ? name : palette.dim(name)}${first.slice(INDENT + 5)}`,
    ...rest,
  ];
}

export function summaryOf(findings: readonly Finding[]): string {
  const count = (status: Status) => findings.filter((each) => each.status === status && !each.skipped).length;
  const [ok, warn, fail] = [count('ok'), count('warn'), count('fail')];
  const skipped = findings.length - ok - warn - fail;
  const parts = [
    `${ok} ok`,
    ...(warn > 0 ? [`${warn} to look at`] : []),
    ...(fail > 0 ? [`${fail} to mend`] : []),
    ...(skipped > 0 ? [`${skipped} skipped`] : []),
  ];
  return parts.join(', ');
}

/** Words on lines of at most `width`, each with an indent; a word that is longer than a line is cut. */
export function wrap(text: string, width: number, indent: number): string[] {
  const pad = ' '.repeat(indent);
  const lines: string[] = [];
  let line = '';
  for (const word of safeText(text).split(' ')) {
    const joined = line === '' ? word : `${line} ${word}`;
    if (indent + cellWidth(joined) <= width) {
      line = joined;
      continue;
    }
    if (line !== '') lines.push(pad + line);
    line = cutText(word, width - indent);
  }
  if (line !== '' || lines.length === 0) lines.push(pad + line);
  return lines;
}
