/**
 * Every option of swarm, one row an option. The command line, the environment, the config file, `--help`,
 * `swarm config` and the README's table all come from here; to add an option is to add its row.
 *
 * A row reads one text to one value and says in words what it takes. Who asked (a flag, a variable, a key
 * of a file) is known only to the caller, so the message is put together in `parseOption`.
 */
import type { JobTimeoutAction, LogFormat, LogLevel } from './config.js';
import { usageError } from './errors.js';
import {
  duration,
  type ItemOf,
  list,
  type OptionRow,
  type OptionSection,
  oneOf,
  optional,
  readQueue,
  shortText,
  size,
  toggle,
  value,
  wholeNumber,
} from './option-row.js';
import { parseRedisUrl } from './redis/url.js';
import { exactDuration, exactSize } from './units.js';

export const MAX_COUNT = 512;

/** Less is no node process, more no machine. */
const memorySize = size(16e6, 1e12);
const stuckKillAfter = duration(2_000);
/** A name that others have used before, and its unit with it. */
const MEGABYTES_VARIABLE = 'SWARM_MAXMEM_MB';

export const OPTIONS = {
  count: optional({
    flag: 'count',
    env: ['SWARM_COUNT', 'COUNT', 'NUM_WORKERS'],
    section: 'Children',
    placeholder: 'N',
    describe: `children, 1 to ${MAX_COUNT}`,
    defaultText: 'CPUs allowed',
    group: 'own',
    ...wholeNumber(1, MAX_COUNT),
  }),
  concurrency: optional({
    flag: 'concurrency',
    alias: 'c',
    env: ['SWARM_CONCURRENCY'],
    section: 'Children',
    placeholder: 'N',
    describe:
      'jobs at once in one child; a program with Workers of its own keeps theirs unless this is given',
    defaultText: '5',
    group: 'shared',
    ...wholeNumber(1, 10_000),
  }),
  nodeArgs: list({
    flag: 'node-arg',
    env: ['SWARM_NODE_ARGS', 'SWARM_NODE_ARG'],
    section: 'Children',
    placeholder: 'A',
    describe: "an option for each child's node, e.g. --expose-gc; repeatable",
    defaultText: 'none',
    takes: 'an option of node such as --expose-gc or --require=./setup.cjs',
    read: (text) => (/^-[^\s=]/.test(text) ? text : undefined),
    dashed: true,
  }),
  watchdog: toggle({
    flag: 'watchdog',
    env: ['SWARM_NO_WATCHDOG', 'SWARM_WATCHDOG'],
    section: 'Children',
    describe: 'children without a watchdog thread',
    fallback: 'on',
    negated: true,
  }),
  maxMemory: optional({
    flag: 'max-memory',
    env: ['SWARM_MAX_MEMORY', MEGABYTES_VARIABLE],
    section: 'Memory and age',
    placeholder: 'B',
    describe: 'a child beyond it (PSS) drains and is recycled',
    defaultText: 'off',
    group: 'shared',
    takes: `${memorySize.takes}; a bare number only in ${MEGABYTES_VARIABLE}, which counts MB`,
    read: (text, source) => {
      const isBare = source === MEGABYTES_VARIABLE && /^\d+$/.test(text);
      return memorySize.read(isBare ? `${text}MB` : text, source);
    },
    show: exactSize,
  }),
  maxMemoryHard: optional({
    flag: 'max-memory-hard',
    env: ['SWARM_MAX_MEMORY_HARD'],
    section: 'Memory and age',
    placeholder: 'B',
    describe: 'a child beyond it (RSS, looked at 10 times a second) is killed',
    defaultText: '1.5 × max-memory',
    group: 'shared',
    ...memorySize,
  }),
  maxJobs: optional({
    flag: 'max-jobs',
    env: ['SWARM_MAX_JOBS'],
    section: 'Memory and age',
    placeholder: 'N',
    describe: 'a child is recycled after so many jobs, ±10 %',
    defaultText: 'off',
    group: 'shared',
    ...wholeNumber(1, 999_999_999),
  }),
  maxAge: optional({
    flag: 'max-age',
    env: ['SWARM_MAX_AGE'],
    section: 'Memory and age',
    placeholder: 'D',
    describe: 'a child is recycled so long after it was ready, ±10 %',
    defaultText: 'off',
    group: 'shared',
    ...duration(1_000, 90 * 24 * 3_600_000),
  }),
  jemalloc: toggle({
    flag: 'jemalloc',
    env: ['SWARM_JEMALLOC'],
    section: 'Memory and age',
    describe: "children allocate with the system's jemalloc",
    fallback: 'off',
  }),
  queues: list({
    flag: 'queue',
    alias: 'q',
    env: ['SWARM_QUEUES', 'SWARM_QUEUE'],
    section: 'Queues and Redis',
    placeholder: 'NAME[,WEIGHT]',
    describe:
      'a queue to work on, repeatable; for apps of defineApp(). Strictly in this order, or by weight if any has one',
    defaultText: "all of the app's",
    group: 'own',
    takes: 'NAME or NAME,WEIGHT: a name without colon or comma, a whole weight from 1 to 1000',
    read: readQueue,
    show: (queue) => (queue.weight === null ? queue.name : `${queue.name},${queue.weight}`),
  }),
  prefix: value({
    flag: 'prefix',
    env: ['SWARM_PREFIX'],
    section: 'Queues and Redis',
    placeholder: 'P',
    describe: "key prefix of a swarm app's queues",
    fallback: 'bull',
    takes: 'a key prefix of 1 to 200 characters without blanks',
    read: (text) => (/^[^\s\p{Cc}]{1,200}$/u.test(text) ? text : undefined),
  }),
  redis: optional({
    flag: 'redis',
    env: ['SWARM_REDIS_URL', 'REDIS_URL', 'SWARM_REDIS'],
    section: 'Queues and Redis',
    placeholder: 'URL|embedded',
    describe: "where the registry and a swarm app's queues are",
    defaultText: 'a redis-server of its own',
    takes: 'embedded, or the URL of a Redis',
    read: (text, source) => {
      if (text !== 'embedded') parseRedisUrl(text, source);
      return text;
    },
    secret: true,
  }),
  redisTlsNoVerify: toggle({
    flag: 'redis-tls-no-verify',
    env: ['SWARM_REDIS_TLS_NO_VERIFY'],
    section: 'Queues and Redis',
    describe: "accept any certificate of Redis's",
    fallback: 'off',
  }),
  namespace: value({
    flag: 'namespace',
    env: ['SWARM_NAMESPACE'],
    section: 'Queues and Redis',
    placeholder: 'NS',
    describe: 'registry namespace',
    fallback: 'default',
    takes: 'a name of 1 to 100 letters, digits and . _ -',
    read: (text) => (/^[\w.-]{1,100}$/.test(text) ? text : undefined),
  }),
  timeout: value({
    flag: 'timeout',
    env: ['SWARM_TIMEOUT'],
    section: 'Time limits',
    placeholder: 'D',
    describe: 'for jobs to finish in at a stop; what is unfinished then is handed back',
    fallback: '25s',
    ...duration(0),
  }),
  bootTimeout: value({
    flag: 'boot-timeout',
    env: ['SWARM_BOOT_TIMEOUT'],
    section: 'Time limits',
    placeholder: 'D',
    describe: 'a child that is not ready by then is killed',
    fallback: '60s',
    ...duration(1),
  }),
  stuckAfter: value({
    flag: 'stuck-after',
    env: ['SWARM_STUCK_AFTER'],
    section: 'Time limits',
    placeholder: 'D',
    describe: 'a child whose main loop is silent for so long is dumped',
    fallback: '10s',
    ...duration(1_000),
  }),
  stuckKillAfter: optional<number | 'off'>({
    flag: 'stuck-kill-after',
    env: ['SWARM_STUCK_KILL_AFTER'],
    section: 'Time limits',
    placeholder: 'D|off',
    describe: 'a child whose main loop is silent for so long is killed, and its jobs are released',
    defaultText: '60s, or the longest lock of its Workers',
    takes: `off, or ${stuckKillAfter.takes}`,
    read: (text, source) => (text === 'off' ? text : stuckKillAfter.read(text, source)),
    show: (limit) => (limit === 'off' ? limit : exactDuration(limit)),
  }),
  jobTimeout: optional({
    flag: 'job-timeout',
    env: ['SWARM_JOB_TIMEOUT'],
    section: 'Jobs',
    placeholder: 'D',
    describe: "a job that is active for so long is dumped; a queue's own jobTimeoutMs stands above it",
    defaultText: 'off',
    ...duration(1_000),
  }),
  jobTimeoutAction: value({
    flag: 'job-timeout-action',
    env: ['SWARM_JOB_TIMEOUT_ACTION'],
    section: 'Jobs',
    placeholder: 'dump|abort|kill',
    describe:
      'and then: nothing more; its signal is aborted, and if it has not settled in 5 s, as for kill; its child drains and is killed, and it fails',
    fallback: 'dump',
    ...oneOf<JobTimeoutAction>('dump', 'abort', 'kill'),
  }),
  dumpDetails: toggle({
    flag: 'dump-details',
    env: ['SWARM_DUMP_DETAILS'],
    section: 'Jobs',
    describe:
      'dumps, and the reasons of jobs that fail for their timeout, have whole command lines and URL paths; else names of programs, and hosts with the first part of the path',
    fallback: 'off',
  }),
  quarantineAfter: value<number | 'off'>({
    flag: 'quarantine-after',
    env: ['SWARM_QUARANTINE_AFTER'],
    section: 'Jobs',
    placeholder: 'N|off',
    describe:
      'a job fails for good when its process died N times while it ran alone, or 3 × N + 1 times among others',
    fallback: '3',
    takes: 'off, or a whole number from 1 to 1000',
    read: (text, source) => (text === 'off' ? text : wholeNumber(1, 1_000).read(text, source)),
  }),
  port: optional({
    flag: 'port',
    env: ['SWARM_PORT'],
    section: 'Health and metrics',
    placeholder: 'P',
    describe: 'serves /healthz, /readyz and /metrics (Prometheus)',
    defaultText: 'off',
    ...wholeNumber(1, 65_535),
  }),
  host: value({
    flag: 'host',
    env: ['SWARM_HOST'],
    section: 'Health and metrics',
    placeholder: 'H',
    describe: 'address that --port is served at; 0.0.0.0 for all',
    fallback: '127.0.0.1',
    takes: 'an address or name of this machine, such as 127.0.0.1, 0.0.0.0 or ::',
    read: (text) => (/^[\w.:%-]{1,255}$/.test(text) ? text : undefined),
  }),
  tag: optional({
    flag: 'tag',
    env: ['SWARM_TAG'],
    section: 'Names',
    placeholder: 'T',
    describe: 'shown in the registry',
    defaultText: "name of the app's package",
    ...shortText(),
  }),
  labels: list({
    flag: 'label',
    env: ['SWARM_LABELS', 'SWARM_LABEL'],
    section: 'Names',
    placeholder: 'L',
    describe: 'shown in the registry; repeatable',
    defaultText: 'none',
    ...shortText(),
  }),
  strict: toggle({
    flag: 'strict',
    env: ['SWARM_STRICT'],
    section: 'Start and log',
    describe: 'warnings at start are errors',
    fallback: 'off',
  }),
  logFormat: optional({
    flag: 'log-format',
    env: ['SWARM_LOG_FORMAT'],
    section: 'Start and log',
    placeholder: 'json|pretty',
    describe: 'one line an event, on stdout',
    defaultText: 'pretty on a terminal, else json',
    ...oneOf<LogFormat>('json', 'pretty'),
  }),
  logLevel: value({
    flag: 'log-level',
    env: ['SWARM_LOG_LEVEL'],
    section: 'Start and log',
    placeholder: 'LEVEL',
    describe: 'debug, info, warn or error',
    fallback: 'info',
    ...oneOf<LogLevel>('debug', 'info', 'warn', 'error'),
  }),
  config: optional({
    flag: 'config',
    env: ['SWARM_CONFIG'],
    section: 'Start and log',
    placeholder: 'F',
    describe: 'file with the same options in camelCase, and groups',
    defaultText: 'swarm.config.{ts,mts,js,mjs,cjs,json}',
    takes: 'the path of a file',
    read: (text) => (text === '' ? undefined : text),
    noFile: true,
  }),
};

export type OptionName = keyof typeof OPTIONS;

type ValueOf<Row> = Row extends { kind: 'list' }
  ? readonly ItemOf<Row>[]
  : Row extends { fallback: null }
    ? ItemOf<Row> | null
    : ItemOf<Row>;
/** The type of each option's value; durations are milliseconds. */
export type OptionValues = { [Name in OptionName]: ValueOf<(typeof OPTIONS)[Name]> };

export const OPTION_NAMES = Object.keys(OPTIONS) as OptionName[];

export function optionRow(name: OptionName): OptionRow {
  return OPTIONS[name] as OptionRow;
}

/** As it is shown and typed, with its dashes: `--count`, `--no-watchdog`. */
export function shownFlag(row: OptionRow): string {
  return row.negated ? `--no-${row.flag}` : `--${row.flag}`;
}

/** Keys of a config file for an option: its name, and its flag in camelCase where that differs. */
export function fileKeys(name: OptionName): string[] {
  const row = optionRow(name);
  if (row.noFile) return [];
  const flag = shownFlag(row)
    .slice(2)
    .replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
  return [...new Set([name, flag])];
}

/**
 * @param source who gave the text, as it begins the message: `--count`, `COUNT`, `count in swarm.config.json`
 * @throws SwarmError `SWARM_BAD_<FLAG>`, exit 64
 */
export function parseOption(name: OptionName, text: string, source: string): unknown {
  const row = optionRow(name);
  const parsed = row.read(text, source);
  if (parsed === undefined) throw badOption(name, text, source);
  return parsed;
}

export function badOption(name: OptionName, got: unknown, source: string): Error {
  const row = optionRow(name);
  const shown = row.secret ? `a value of type ${typeof got}` : (JSON.stringify(got) ?? typeof got);
  const code = `SWARM_BAD_${row.flag.toUpperCase().replaceAll('-', '_')}`;
  return usageError(code, `${source} takes ${row.takes}, got ${shown}`);
}

/** One row of the table of options in the documentation. */
export interface OptionDoc {
  /** `-c, --concurrency N` */
  flag: string;
  env: readonly string[];
  defaultText: string;
  describe: string;
  section: OptionSection;
}

export function optionRows(): OptionDoc[] {
  return OPTION_NAMES.map((name) => {
    const row = optionRow(name);
    const flag = [
      row.alias ? `-${row.alias}, ` : '',
      shownFlag(row),
      row.placeholder ? ` ${row.placeholder}` : '',
    ];
    const { env, defaultText, describe, section } = row;
    return { flag: flag.join(''), env, defaultText, describe, section };
  });
}
