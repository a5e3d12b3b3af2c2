/**
 * The log: one line an event, to one sink, as text for people or as JSON for machines.
 *
 * A line of a child passes by winston: children print floods, and a flood must cost a copy, not an event
 * of a stream. It is the child's own text and not searched for secrets; what swarm itself logs is.
 *
 * Nothing printed can forge a line or drive the operator's terminal: control characters come out escaped.
 * Only colours (SGR sequences) of a child's text are let through, and only to a terminal.
 */
import { createRequire } from 'node:module';
import type * as Winston from 'winston';
import type { LogFormat, LogLevel } from './config.js';
import { escapeControls, escapeJson } from './controls.js';
import type { Dropped } from './output-sink.js';
import { maskSecrets } from './secrets.js';

export type LogFields = Record<string, string | number | boolean | null | undefined>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A line that a child printed. Passes at every level. */
  childOutput(line: ChildLine): void;
}

export interface ChildLine {
  slot: number;
  pid: number;
  stream: 'stdout' | 'stderr';
  /** Without its newline. */
  text: string;
}

/** What a logger needs of an `OutputSink`. */
export interface LogSink {
  readonly isTty: boolean;
  write(line: string, priority?: 'own' | 'relayed'): boolean;
  takeDropped(): Dropped | null;
}

export interface LoggerOptions {
  format: LogFormat;
  /** The least important level that is printed. */
  level: LogLevel;
  sink: LogSink;
}

/** What a line is made of. */
export interface LogEntry {
  time: Date;
  level: LogLevel;
  message: string;
  fields: LogFields;
}

const LEVELS: Record<LogLevel, number> = { error: 0, warn: 1, info: 2, debug: 3 };
const COLORS: Record<LogLevel, string> = { error: '31', warn: '33', info: '32', debug: '2' };
/** These come before the message, in this order: the shape that operators grep for. */
const CHILD_FIELDS = ['slot', 'generation', 'pid'];

// why not by import: see redis/ioredis.ts
const require = createRequire(import.meta.url);
const winston: typeof Winston = require('winston');

/** Where winston's formats leave the finished line. */
const MESSAGE = Symbol.for('message');

interface TransportOptions {
  log(info: Winston.Logform.TransformableInfo, next: () => void): void;
}
// winston exports the class under this name; its types know it only as `transport`, and as a namespace.
const { Transport } = winston as unknown as {
  Transport: new (options: TransportOptions) => Winston.transport;
};

export function createLogger(options: LoggerOptions): Logger {
  const { format, level, sink } = options;
  const isColored = format === 'pretty' && sink.isTty && !process.env.NO_COLOR;
  const formatEntry = format === 'json' ? formatJson : (entry: LogEntry) => formatPretty(entry, isColored);
  const isoNow = isoClock();
  const formatChild =
    format === 'json'
      ? (line: ChildLine) => formatChildJson(line, isoNow())
      : (line: ChildLine) => formatChildPretty(line, sink.isTty);

  const write = (line: string, priority: 'own' | 'relayed'): void => {
    const dropped = sink.takeDropped();
    if (dropped !== null) {
      const fields: LogFields = { lines: dropped.lines, bytes: dropped.bytes };
      const message = 'output dropped: it was not read, or could not be written';
      sink.write(`${formatEntry({ time: new Date(), level: 'warn', message, fields })}\n`, 'own');
    }
    sink.write(`${line}\n`, priority);
  };
  const transport = new Transport({
    log(info, next) {
      write(String(info[MESSAGE]), 'own');
      next();
    },
  });
  const logger = winston.createLogger({
    levels: LEVELS,
    level,
    format: winston.format.printf((info) => formatEntry(info as unknown as LogEntry)),
    transports: [transport],
  });
  const log =
    (entryLevel: LogLevel) =>
    (message: string, fields: LogFields = {}) => {
      if (LEVELS[entryLevel] > LEVELS[level]) return;
      const entry: LogEntry = { time: new Date(), level: entryLevel, message, fields };
      logger.log(entry);
    };
  return {
    debug: log('debug'),
    info: log('info'),
    warn: log('warn'),
    error: log('error'),
    childOutput: (line) => write(formatChild(line), 'relayed'),
  };
}

/** One JSON object: time (ISO), level, message, then the fields in the order given. */
export function formatJson(entry: LogEntry): string {
  const head = { time: entry.time.toISOString(), level: entry.level, message: maskSecrets(entry.message) };
  const line: LogFields = { ...head };
  for (const [key, value] of Object.entries(entry.fields)) {
    if (!Object.hasOwn(head, key)) line[key] = typeof value === 'string' ? maskSecrets(value) : value;
  }
  return toJson(line);
}

/** `12:00:01.123 WARN slot=2 generation=1 pid=4711 exited cause=oom-kill`, local time; a `stack` on lines of its own. */
export function formatPretty(entry: LogEntry, isColored: boolean): string {
  const { stack, ...fields } = entry.fields;
  const level = entry.level.toUpperCase();
  const parts = [
    formatTime(entry.time),
    isColored ? `\u001b[${COLORS[entry.level]}m${level}\u001b[0m` : level,
  ];
  for (const key of CHILD_FIELDS) {
    if (fields[key] !== undefined) parts.push(formatField(key, fields[key]));
  }
  parts.push(escapeControls(maskSecrets(entry.message)));
  for (const [key, value] of Object.entries(fields)) {
    if (value !== undefined && !CHILD_FIELDS.includes(key)) parts.push(formatField(key, value));
  }
  const lines = [parts.join(' ')];
  if (stack != null) {
    for (const line of maskSecrets(String(stack)).split(/\r?\n/)) lines.push(`    ${escapeControls(line)}`);
  }
  return lines.join('\n');
}

function formatField(key: string, value: string | number | boolean | null): string {
  if (typeof value !== 'string') return `${key}=${value}`;
  const masked = maskSecrets(value);
  return `${key}=${/^[^\s"'=\\\p{Cc}]+$/u.test(masked) ? masked : toJson(masked)}`;
}

function formatTime(time: Date): string {
  const pad = (value: number, width = 2): string => String(value).padStart(width, '0');
  const clock = [time.getHours(), time.getMinutes(), time.getSeconds()].map((value) => pad(value)).join(':');
  return `${clock}.${pad(time.getMilliseconds(), 3)}`;
}

function formatChildPretty(line: ChildLine, isTty: boolean): string {
  return `slot=${line.slot} | ${escapeControls(line.text, isTty ? 'keep' : 'strip')}`;
}

/** Put together by hand: `stringify` of the whole object takes twice as long, and floods come this way. */
function formatChildJson(line: ChildLine, time: string): string {
  const { stream, slot, pid, text } = line;
  return `{"time":"${time}","stream":"${stream}","slot":${slot},"pid":${pid},"message":${toJson(text)}}`;
}

/** The ISO time, made once a millisecond: for a short line it is the dearest part. */
function isoClock(): () => string {
  let madeAtMs = Number.NaN;
  let iso = '';
  return () => {
    const nowMs = Date.now();
    if (nowMs !== madeAtMs) iso = new Date(nowMs).toISOString();
    madeAtMs = nowMs;
    return iso;
  };
}

/** On one line. */
function toJson(value: LogFields | string): string {
  return escapeJson(JSON.stringify(value));
}
