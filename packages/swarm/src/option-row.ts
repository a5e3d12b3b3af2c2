/** What a row of the table of options is made of, and the readers that several rows share. */
import type { QueueChoice } from './config.js';
import { DURATION_FORMS, exactDuration, exactSize, parseDuration, parseSize, SIZE_FORMS } from './units.js';

export type OptionSection =
  | 'Children'
  | 'Memory and age'
  | 'Queues and Redis'
  | 'Time limits'
  | 'Jobs'
  | 'Health and metrics'
  | 'Names'
  | 'Start and log';

export interface RowBase<T> {
  /** Long flag without its dashes; a negated switch has the flag of what it turns off. */
  readonly flag: string;
  readonly alias?: string;
  /** Environment variables, the first one set wins. Those that begin with `SWARM_NO_` mean the opposite. */
  readonly env: readonly string[];
  readonly section: OptionSection;
  readonly placeholder: string;
  readonly describe: string;
  /** The default, as a text that `read` takes; null: none, and `defaultText` says what happens then. */
  readonly fallback: string | null;
  readonly defaultText: string;
  /** What a good value is; ends `--flag takes …`. */
  readonly takes: string;
  /** One text to one value; undefined: it is not one. May throw a better message, which begins with `source`. */
  readonly read: (text: string, source: string) => T | undefined;
  /** A value as text that `read` takes. */
  readonly show?: (value: T) => string;
  /** Values may hold a password: messages do not repeat them. */
  readonly secret?: true;
  /** Values may begin with a dash. */
  readonly dashed?: true;
  /** What a group of the config file may set; `own`: with groups, a flag or variable is an error. */
  readonly group?: 'own' | 'shared';
  /** Shown and documented as `--no-<flag>`. */
  readonly negated?: true;
  /** Is no key of a config file. */
  readonly noFile?: true;
}

export interface ValueRow<T> extends RowBase<T> {
  readonly kind: 'value';
  readonly fallback: string;
}
/** Its value may be null: what it is then depends on more than the option. */
export interface OptionalRow<T> extends RowBase<T> {
  readonly kind: 'value';
  readonly fallback: null;
}
/** Repeatable; empty if not given. */
export interface ListRow<T> extends RowBase<T> {
  readonly kind: 'list';
  readonly fallback: null;
}
export interface SwitchRow extends RowBase<boolean> {
  readonly kind: 'switch';
  readonly fallback: string;
}
export type OptionRow = ValueRow<unknown> | OptionalRow<unknown> | ListRow<unknown> | SwitchRow;

/** The type of one value of a row. */
export type ItemOf<Row> = Row extends RowBase<infer T> ? T : never;

type Given<T, Derived extends keyof RowBase<T>> = Omit<RowBase<T>, Derived>;

export const value = <T>(row: Given<T, 'fallback' | 'defaultText'> & { fallback: string }): ValueRow<T> => ({
  defaultText: row.fallback,
  ...row,
  kind: 'value',
});
export const optional = <T>(row: Given<T, 'fallback'>): OptionalRow<T> => ({
  ...row,
  kind: 'value',
  fallback: null,
});
export const list = <T>(row: Given<T, 'fallback'>): ListRow<T> => ({ ...row, kind: 'list', fallback: null });
export const toggle = (
  row: Given<boolean, 'fallback' | 'defaultText' | 'placeholder' | 'takes' | 'read'> & {
    fallback: 'on' | 'off';
  },
): SwitchRow => ({
  defaultText: row.fallback,
  ...row,
  kind: 'switch',
  placeholder: '',
  takes: 'true or false',
  read: readSwitch,
});

type Reading<T> = Pick<RowBase<T>, 'takes' | 'read' | 'show'>;

export function wholeNumber(min: number, max: number): Reading<number> {
  return {
    takes: `a whole number from ${min} to ${max}`,
    read: (text) => {
      const number = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
      return number >= min && number <= max ? number : undefined;
    },
  };
}

export function duration(minMs: number, maxMs = 24 * 3_600_000): Reading<number> {
  return {
    takes: `a duration from ${exactDuration(minMs)} to ${exactDuration(maxMs)}, such as ${DURATION_FORMS}`,
    read: (text) => {
      const durationMs = parseDuration(text);
      return durationMs !== undefined && durationMs >= minMs && durationMs <= maxMs ? durationMs : undefined;
    },
    show: exactDuration,
  };
}

export function size(minBytes: number, maxBytes: number): Reading<number> {
  return {
    takes: `a size from ${exactSize(minBytes)} to ${exactSize(maxBytes)}, such as ${SIZE_FORMS}`,
    read: (text) => {
      const bytes = parseSize(text);
      return bytes !== undefined && bytes >= minBytes && bytes <= maxBytes ? bytes : undefined;
    },
    show: exactSize,
  };
}

export function oneOf<T extends string>(...choices: T[]): Reading<T> {
  return {
    takes: `${choices.slice(0, -1).join(', ')} or ${choices.at(-1)}`,
    read: (text) => choices.find((choice) => choice === text),
  };
}

export function shortText(): Reading<string> {
  return {
    takes: 'a text of 1 to 100 characters on one line',
    read: (text) => (/^[^\p{Cc}]{1,100}$/u.test(text) && text.trim() !== '' ? text : undefined),
  };
}

function readSwitch(text: string): boolean | undefined {
  if (/^(1|true|yes|on)$/i.test(text)) return true;
  return /^(0|false|no|off)$/i.test(text) ? false : undefined;
}

export function readQueue(text: string): QueueChoice | undefined {
  const match = /^([^\s,:\p{Cc}]{1,200})(?:,(\d{1,4}))?$/u.exec(text);
  if (!match?.[1]) return undefined;
  const weight = match[2] === undefined ? null : Number(match[2]);
  return weight === null || (weight >= 1 && weight <= 1000) ? { name: match[1], weight } : undefined;
}
