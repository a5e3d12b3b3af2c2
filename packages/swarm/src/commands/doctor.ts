/** `swarm doctor`: looks at everything that commonly goes wrong, and says what to do about it. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Config } from '../config.js';
import { type ExaminationInput, examine, type Finding, type Progress } from '../doctor/index.js';
import { EXIT, usageError } from '../errors.js';
import { rawHostName } from '../process/proc.js';
import { redactUrl } from '../redis/url.js';
import { doctorReport, summaryOf } from './doctor-report.js';
import { paletteOf } from './palette.js';
import { redisUrlOf } from './registry-access.js';
import { jsonText, type Screen, terminalScreen } from './screen.js';

export interface DoctorOptions {
  config: Config;
  env: NodeJS.ProcessEnv;
  json: boolean;
  /** Again and again, until it is interrupted. */
  watch: boolean;
  dbMax: number | null;
  dbPool: number | null;
}

const WATCH_MS = 10_000;
const CLEAR = '\u001b[H\u001b[2J';

/** What `--db-max` and `--db-pool` take. Throws `SWARM_BAD_DB_MAX`, `SWARM_BAD_DB_POOL`. */
export function parseConnections(flag: 'db-max' | 'db-pool', text: string | undefined): number | null {
  if (text === undefined) return null;
  const connections = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (connections >= 1) return connections;
  throw usageError(
    `SWARM_BAD_${flag.toUpperCase().replace('-', '_')}`,
    `--${flag} takes a number of connections from 1 to 999999, got ${JSON.stringify(text)}`,
  );
}

/** Exit code 1: something has to be mended; 0: nothing, though there may be warnings. */
export async function doctor(options: DoctorOptions, screen: Screen = terminalScreen()): Promise<number> {
  if (options.watch) return watch(options, screen);
  const { findings, url } = await look(options, progressLine(options));
  await screen.print(options.json ? jsonText(findings) : text(findings, url, options, screen));
  return exitCode(findings);
}

async function watch(options: DoctorOptions, screen: Screen): Promise<number> {
  const interrupted = new AbortController();
  const stop = (): void => interrupted.abort();
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  const { signal } = interrupted;
  const isTty = process.stdout.isTTY === true;
  let code: number = EXIT.ok;
  let before: string | null = null;
  while (!signal.aborted) {
    const { findings, url } = await look(options, () => {});
    code = exitCode(findings);
    if (options.json) await screen.print(JSON.stringify(findings));
    else if (isTty)
      await screen.print(
        `${CLEAR}${text(findings, url, options, screen)}\n${clock()}, again every ${WATCH_MS / 1_000} s; Ctrl-C ends it`,
      );
    else if (essence(findings) !== before)
      await screen.print(`${clock()}\n${text(findings, url, options, screen)}\n`);
    before = essence(findings);
    await delay(WATCH_MS, undefined, { signal }).catch(() => {});
  }
  process.off('SIGINT', stop);
  process.off('SIGTERM', stop);
  return code;
}

async function look(
  { config, env, dbMax, dbPool }: DoctorOptions,
  onProgress: (progress: Progress | null) => void,
): Promise<{ findings: Finding[]; url: string | null }> {
  let url: string | null = null;
  const input: ExaminationInput = {
    config,
    env,
    dbMax,
    dbPool,
    async redisUrl() {
      const found = await redisUrlOf({ redis: config.redis });
      url = redactUrl(found);
      return found;
    },
  };
  const findings = await examine(input, onProgress);
  onProgress(null);
  return { findings, url };
}

function text(
  findings: readonly Finding[],
  url: string | null,
  { config, env }: DoctorOptions,
  screen: Screen,
): string {
  const head = { url, namespace: config.namespace, host: rawHostName() };
  return doctorReport(findings, head, screen.width, paletteOf(env, process.stdout.isTTY === true));
}

/** What changes are about: figures change all the time. */
function essence(findings: readonly Finding[]): string {
  return JSON.stringify([summaryOf(findings), findings.map(({ status }) => status)]);
}

function exitCode(findings: readonly Finding[]): number {
  return findings.some(({ status }) => status === 'fail') ? 1 : EXIT.ok;
}

/** One line on stderr that goes as it came; a log has no use for it. */
function progressLine({ json, env }: DoctorOptions): (progress: Progress | null) => void {
  const { stderr } = process;
  if (json || !stderr.isTTY || env['TERM'] === 'dumb') return () => {};
  return (progress) => {
    const line = progress === null ? '' : `${progress.done}/${progress.of} ${progress.check}`;
    stderr.write(`\r\u001b[K${line}`);
  };
}

function clock(): string {
  return new Date().toTimeString().slice(0, 8);
}
