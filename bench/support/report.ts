/** How every benchmark answers: a table for people, or with `--json` one JSON document and nothing else. */
import { jsonText } from '../../../packages/swarm/dist/commands/screen.js';
import { type Column, formatTable } from '../../../packages/swarm/dist/commands/table.js';
import { countStolenTime } from './stolen-time.js';

export interface Table {
  title: string;
  /** The first column is text, the others are figures. */
  columns: readonly string[];
  rows: readonly (readonly string[])[];
}

export interface Goal {
  what: string;
  value: number;
  /** 95 % of the measurement's noise; without it the value is taken as exact. */
  interval?: [low: number, high: number];
  atLeast?: number;
  atMost?: number;
  unit?: string;
}

export interface Report {
  tables: readonly Table[];
  goals: readonly Goal[];
  notes: readonly string[];
  /** All that was measured, for `--json`. */
  data: object;
}

const WIDTH = 110;
/** Less of it is not worth a word. */
const STOLEN_SHARE = 0.01;
const stolenTime = countStolenTime();
const asJson = process.argv.includes('--json');

let lastProgress = '';

/** What happens meanwhile, for people who wait; in a log a line each time that it changes. Empty: nothing more. */
export function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[2K${text}`);
  else if (text !== '' && text !== lastProgress) process.stderr.write(`${text}\n`);
  lastProgress = text;
}

export function print(report: Report): void {
  progress('');
  const goals = report.goals.map((goal) => ({ ...goal, verdict: judge(goal) }));
  const notes = [...report.notes, ...noteOnStolen()];
  if (goals.some(({ verdict }) => verdict === 'MISSED')) process.exitCode = 1;
  if (asJson) return console.log(jsonText({ goals, notes, ...report.data }));
  for (const { title, columns, rows } of report.tables) {
    const [first = '', ...figures] = columns;
    const shown: Column[] = [
      { title: first },
      ...figures.map((name) => ({ title: name, align: 'right' as const })),
    ];
    console.log([title, ...formatTable(shown, rows, WIDTH).map((line) => `  ${line}`), ''].join('\n'));
  }
  const columns: Column[] = [
    { title: 'goal' },
    { title: 'wanted', align: 'right' },
    { title: 'got', align: 'right' },
    { title: '' },
  ];
  const rows = goals.map((goal) => [goal.what, wanted(goal), got(goal), goal.verdict]);
  for (const line of formatTable(columns, rows, WIDTH)) console.log(`  ${line}`);
  for (const note of notes) console.log(`  (${note})`);
}

function noteOnStolen(): string[] {
  const share = stolenTime();
  if (share === null || share < STOLEN_SHARE) return [];
  return [
    `the host kept ${figure(100 * share)} % of this machine's CPU time for others: what waits here waited for that too`,
  ];
}

function judge({
  value,
  interval = [value, value],
  atLeast,
  atMost,
}: Goal): 'met' | 'too noisy to tell' | 'MISSED' {
  const meets = (figure: number): boolean => figure >= (atLeast ?? figure) && figure <= (atMost ?? figure);
  if (meets(value)) return 'met';
  return interval.some(meets) ? 'too noisy to tell' : 'MISSED';
}

function got(goal: Goal): string {
  const { value, interval } = goal;
  const noise = interval ? ` (${figure(interval[0])}–${figure(interval[1])})` : '';
  return withUnit(value, goal) + noise;
}

function wanted(goal: Goal): string {
  if (goal.atLeast !== undefined) return `≥ ${withUnit(goal.atLeast, goal)}`;
  return `≤ ${withUnit(goal.atMost ?? Number.NaN, goal)}`;
}

function withUnit(value: number, { unit = '' }: Goal): string {
  return `${figure(value)}${unit ? ` ${unit}` : ''}`;
}

/** Three digits that count; thousands in full. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return '–';
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en-US');
  if (Math.abs(value) >= 10) return value.toFixed(1);
  return value.toFixed(2);
}
