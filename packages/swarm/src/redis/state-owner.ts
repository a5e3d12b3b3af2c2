/**
 * Whose the state directory is. Who owns it says which Redis a master runs and which one commands ask, so one of somebody else's, or
 * behind somebody else's link, is not used, not even looked into; root is no exception.
 */
import { lstatSync, type Stats, statSync } from 'node:fs';
import { redisError } from '../errors.js';
import { codeOf } from './lock.js';

/** Throws `SWARM_STATE_DIRECTORY` if one of these is there and belongs to another user. */
export function checkOwner(paths: readonly string[], uid = process.geteuid?.()): void {
  if (uid === undefined) return;
  for (const path of paths) {
    for (const look of [lstatSync, statSync]) {
      const stats = statsOf(look, path);
      if (stats === null || stats.uid === uid) continue;
      throw redisError(
        'SWARM_STATE_DIRECTORY',
        `${path} belongs to another user (uid ${stats.uid}, and swarm runs as uid ${uid}), so it is not used; ` +
          'run swarm as that user, set XDG_STATE_HOME to a directory of your own, or name a Redis with --redis URL',
      );
    }
  }
}

function statsOf(look: (path: string) => Stats, path: string): Stats | null {
  try {
    return look(path);
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return null;
    throw error;
  }
}
