import { maskSecrets } from './secrets.js';

/**
 * Every error that swarm itself raises. The `code` is stable and is what scripts and tests match; the
 * message names the option or key, the bound and the value got, and says what to do about it. What it quotes (a value, what Redis
 * or a config file says) may hold a password, which is left out.
 */
export class SwarmError extends Error {
  override readonly name = 'SwarmError';
  /** Stable, upper case, `SWARM_…`. */
  readonly code: string;
  /** What the process exits with when this error ends it. */
  readonly exitCode: ExitCode;

  constructor(code: string, message: string, options: { exitCode: ExitCode; cause?: unknown }) {
    super(maskSecrets(message), 'cause' in options ? { cause: options.cause } : undefined);
    this.code = code;
    this.exitCode = options.exitCode;
  }
}

/** Exit codes of the `swarm` command; those above 63 are sysexits(3). */
export const EXIT = {
  /** Stopped as asked; jobs that were handed back count as asked. */
  ok: 0,
  /** Stopped as asked, but a child had to be killed, or its jobs could not be put back. */
  killed: 1,
  /** Bad usage or configuration (EX_USAGE). */
  usage: 64,
  /** Redis not usable at start (EX_UNAVAILABLE). */
  unavailable: 69,
  /** The app cannot boot (EX_SOFTWARE). */
  appFailed: 70,
  /** What a command had to say could not be written (EX_IOERR). */
  unwritten: 74,
  /** Forced by a second INT. */
  forced: 130,
  /** The reader of a command is gone, as a shell says it of those that SIGPIPE ends. */
  unread: 141,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Bad flag, environment variable, config file or app path: exit 64. */
export function usageError(code: string, message: string, cause?: unknown): SwarmError {
  return new SwarmError(code, message, { exitCode: EXIT.usage, cause });
}

/** Redis cannot be used: exit 69. */
export function redisError(code: string, message: string, cause?: unknown): SwarmError {
  return new SwarmError(code, message, { exitCode: EXIT.unavailable, cause });
}
