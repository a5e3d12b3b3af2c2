/**
 * Is the process that a pid file names a Redis, and ours? Pids are used again: after a reboot the file may name anybody. `/proc` tells
 * on Linux, `ps` elsewhere.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { SERVER_NAMES } from './launch.js';

const PS_MS = 2_000;

/** null: it cannot be told. Empty: there is no such process. */
export function readTitle(pid: number, proc = '/proc'): string | null {
  try {
    return readFileSync(`${proc}/${pid}/cmdline`, 'utf8').split('\0').join(' ').trim();
  } catch {
    return existsSync(`${proc}/self`) ? '' : titleByPs(pid);
  }
}

function titleByPs(pid: number): string | null {
  try {
    return execFileSync('ps', ['-ww', '-o', 'command=', '-p', String(pid)], {
      encoding: 'utf8',
      timeout: PS_MS,
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch (error) {
    // with exit 1 it says that nobody has this pid
    return (error as { status?: unknown }).status === 1 ? '' : null;
  }
}

/** @param port null: any */
export function isServerTitle(title: string, port: number | null): boolean {
  return (
    SERVER_NAMES.some((name) => title.includes(name)) &&
    (port === null || title.includes(`:${port}`) || !/:\d/.test(title))
  );
}
