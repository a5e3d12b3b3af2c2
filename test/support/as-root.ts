/** A few lines of shell as root: for what only root may do to a machine. */
import { spawnSync } from 'node:child_process';

/** @returns what went wrong, or null */
export function asRoot(script: string): string | null {
  const isRoot = process.getuid?.() === 0;
  const [command, ...before] = isRoot ? ['sh'] : ['sudo', '-n', 'sh'];
  const { status, stderr, error } = spawnSync(command as string, [...before, '-c', script], {
    encoding: 'utf8',
  });
  if (error) return error.message;
  return status === 0 ? null : stderr.trim() || `exit code ${status}`;
}
