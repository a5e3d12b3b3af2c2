/** Why a child never became ready, in words for the person whose app it is. Pure. */
import type { Config } from '../config.js';
import type { ChildHandle } from '../process/child-handle.js';
import type { LastLines } from '../process/output.js';
import type { KillReason } from '../supervisor/state.js';
import { formatBytes } from '../units.js';

const MAX_LINE_LENGTH = 400;
const MAX_STDERR_LINES = 5;

type Evidence = Pick<ChildHandle, 'uncaught' | 'workers' | 'exit' | 'group' | 'bootTrouble' | 'stderr'>;

/** Its program ended by itself before it was ready, without an error and without a Worker. */
export function neverWorked({
  readyAtMs,
  hadWorker,
  uncaught,
  exit,
}: Pick<ChildHandle, 'readyAtMs' | 'hadWorker' | 'uncaught' | 'exit'>): boolean {
  if (readyAtMs !== null || hadWorker) return false;
  return uncaught ? uncaught.ranToEnd === true : exit?.code === 0;
}

/** The app's own words, where there are any. */
export function bootError(
  { uncaught, workers, exit, group, bootTrouble, stderr }: Evidence,
  killedFor: KillReason | null,
  { app, bootTimeoutMs, groups }: Pick<Config, 'app' | 'bootTimeoutMs' | 'groups'>,
): string {
  if (uncaught) return uncaught.stack || uncaught.message;
  if (killedFor === 'boot-timeout') {
    const seen = workers.length > 0;
    const why = seen
      ? `its Workers have no connection${saidOf(bootTrouble)}`
      : 'it has started no BullMQ Worker';
    const cure = seen
      ? ''
      : " A bundled program hides its own: import { track } from 'bullmq-swarm', call track(worker).";
    return (
      `${app} was not ready within ${bootTimeoutMs} ms (--boot-timeout): ${why}. A program is ready when its first ` +
      `BullMQ Worker runs on a live connection, an app of defineApp() when its boot() is done.${cure}${lastWords(stderr)}`
    );
  }
  const { maxMemoryBytes = null, maxMemoryHardBytes = null } =
    groups.find(({ name }) => name === group) ?? {};
  if (killedFor === 'max-memory-hard') {
    return `${app} took more memory than --max-memory-hard, ${formatBytes(maxMemoryHardBytes ?? 0)}, before it was ready: raise it`;
  }
  if (exit?.code === 0 && workers.length === 0 && bootTrouble === null) {
    return (
      `${app} ended itself with exit code 0, without starting a BullMQ Worker: ` +
      `is this the file that makes your new Worker(…)?${lastWords(stderr)}`
    );
  }
  const how = exit?.signal
    ? `was ended by ${exit.signal}`
    : `ended itself with exit code ${exit?.code ?? 'unknown'}`;
  const isAbort = exit?.signal === 'SIGABRT' && maxMemoryBytes !== null;
  const hint = isAbort ? '. If V8 had no memory left: its heap is limited because of --max-memory' : '';
  return `its process ${how} before it was ready, without an error${saidOf(bootTrouble)}; its output above may say more${hint}${lastWords(stderr)}`;
}

function saidOf(bootTrouble: string | null): string {
  return bootTrouble === null ? '' : ` (${bootTrouble})`;
}

/** On lines of their own: the first line says it in short. */
function lastWords(stderr: Pick<LastLines, 'lines'>): string {
  const lines = stderr
    .lines()
    .slice(-MAX_STDERR_LINES)
    .map((line) => `  ${line}`);
  return lines.length === 0 ? '' : `\nThe last of its stderr:\n${lines.join('\n')}`;
}

/** The same in one line; also of a child that was ready, but did not live for long. */
export function whyEnded(
  child: Evidence & Pick<ChildHandle, 'readyAtMs'>,
  killedFor: KillReason | null,
  config: Pick<Config, 'app' | 'bootTimeoutMs' | 'groups'>,
): string {
  const { uncaught, exit, readyAtMs } = child;
  if (readyAtMs === null || uncaught) return firstLine(bootError(child, killedFor, config));
  return `it was ready, and then ${exit?.signal ? `was ended by ${exit.signal}` : `exited with code ${exit?.code ?? 'unknown'}`}`;
}

function firstLine(text: string): string {
  const line = text.split('\n', 1)[0] ?? '';
  return line.length > MAX_LINE_LENGTH ? `${line.slice(0, MAX_LINE_LENGTH)}…` : line;
}
