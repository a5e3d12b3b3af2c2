/**
 * At exit, node gives terminals back the modes that they had at its start, and up to version 22 it crashes (SIGSEGV, in place of
 * the exit code) if one has closed meanwhile. It leaves alone what was opened anew, so that is what is done with a
 * terminal that is gone.
 */
import { closeSync, openSync } from 'node:fs';
import { isatty } from 'node:tty';

const STANDARD_STREAMS = [0, 1, 2];

/** To be called at the start: what is a terminal then, counts. */
export function mindLostTerminals(): void {
  const terminals = STANDARD_STREAMS.filter((fd) => isatty(fd));
  if (terminals.length === 0) return;
  process.on('exit', () => {
    for (const fd of terminals.filter((each) => !isatty(each))) reopen(fd);
  });
}

function reopen(fd: number): void {
  try {
    closeSync(fd);
    // the lowest number that is free, so the same
    openSync('/dev/null', 'r+');
  } catch {
    // then it is closed, which will do as well
  }
}
