/** `swarm profile`, `swarm heap`: has a file written on the child's host, shows how far it is, prints its path. */
import { usageError } from '../errors.js';
import { MAX_PROFILE_MS, MIN_PROFILE_MS } from '../registry/commands.js';
import type { CommandResult, RegistryCommand } from '../registry/index.js';
import { DURATION_FORMS, exactDuration, formatFileSize, parseDuration } from '../units.js';
import { withRegistry } from './registry-access.js';
import type { RegistryCommandOptions } from './registry-options.js';
import { jsonText, type Screen, terminalScreen } from './screen.js';
import { safeText } from './terminal-text.js';

export type CaptureRequest = Extract<RegistryCommand, { type: 'profile' | 'heap' }>;

const OPENS = {
  profile: 'Chrome opens it: DevTools > Performance > Load profile',
  heap: 'Chrome opens it: DevTools > Memory > Load profile. It may hold secrets: it is readable by its user alone',
} as const;

/** What `--for` takes. Throws `SWARM_BAD_FOR`. */
export function parseProfileTime(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const forMs = parseDuration(text);
  if (forMs !== undefined && forMs >= MIN_PROFILE_MS && forMs <= MAX_PROFILE_MS) return forMs;
  throw usageError(
    'SWARM_BAD_FOR',
    `--for takes a duration from ${exactDuration(MIN_PROFILE_MS)} to ${exactDuration(MAX_PROFILE_MS)}, such as ${DURATION_FORMS}, got ${JSON.stringify(text)}`,
  );
}

/** Exit code 0: the file is there; 1: it is not. Throws a `SwarmError` when it cannot even be asked for. */
export async function capture(
  request: CaptureRequest,
  options: RegistryCommandOptions,
  screen: Screen = terminalScreen(),
): Promise<number> {
  const progress = progressLine(options.json);
  const { value: results } = await withRegistry(options, (registry) =>
    registry.send(request, {
      onAnswer({ state, message }) {
        progress(state === 'news' ? `${request.type}: ${safeText(message)}` : '');
      },
    }),
  );
  progress('');
  const done = results.every(({ state }) => state === 'done');
  if (options.json) await screen.print(jsonText(results));
  else for (const result of results) await tell(request, result, screen);
  return done ? 0 : 1;
}

/** stdout has the path alone, for scripts. */
async function tell({ type }: CaptureRequest, result: CommandResult, screen: Screen): Promise<void> {
  const { state, message, file, child, master } = result;
  const who = safeText(child ?? master);
  if (state === 'failed' || !file) return screen.note(`${who}: ${type} failed: ${safeText(message)}`);
  await screen.print(safeText(file.path));
  screen.note(`${formatFileSize(file.bytes)}, on the host of ${who}. ${OPENS[type]}`);
}

/** One line on stderr that goes as it came; a log has no use for it. */
function progressLine(isSilent: boolean): (text: string) => void {
  const { stderr, env } = process;
  if (isSilent || !stderr.isTTY || env['TERM'] === 'dumb') return () => {};
  return (text) => void stderr.write(`\r\u001b[K${text}`);
}
