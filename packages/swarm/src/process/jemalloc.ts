/**
 * The system's jemalloc, for children to be started with. glibc's allocator keeps what is freed in pieces too
 * small to be given back; jemalloc gives most of it back to the system.
 *
 * Only a library for this very machine is taken: for one that does not fit, the dynamic linker prints a
 * warning from every process and goes on without it, which looks like success.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readdirSync, readSync } from 'node:fs';
import { usageError } from '../errors.js';

const LIBRARY = 'libjemalloc.so.2';
/** Where distributions put it; those with a directory for each architecture have it one level down. */
const DIRECTORIES = ['/usr/lib', '/usr/lib64', '/lib', '/lib64', '/usr/local/lib', '/usr/local/lib64'];
const LDCONFIG = ['/sbin/ldconfig', '/usr/sbin/ldconfig', 'ldconfig'];
/** Magic, class, byte order … machine: what two files that fit together have in common. */
const ELF_HEADER_BYTES = 20;

/**
 * @param paths where it may be
 * @throws SwarmError `SWARM_NO_JEMALLOC`, with what to install
 */
export function findJemalloc(paths: Iterable<string> = candidates()): string {
  const own = elfTarget(process.execPath);
  for (const path of own === null ? [] : paths) if (elfTarget(path) === own) return path;
  throw usageError(
    'SWARM_NO_JEMALLOC',
    process.platform === 'linux'
      ? `--jemalloc needs the system's ${LIBRARY} for ${process.arch}, and it is neither known to ldconfig nor in ` +
          `${DIRECTORIES.join(', ')}: install it (Debian and Ubuntu: apt-get install libjemalloc2; ` +
          'Fedora and Alpine: the package jemalloc), or leave --jemalloc out'
      : `--jemalloc works on Linux alone, this is ${process.platform}: leave it out`,
  );
}

/** `LD_PRELOAD` with the library in front of what is in it already. */
export function preloadWith(library: string, preload: string | undefined): string {
  return preload ? `${library}:${preload}` : library;
}

function* candidates(): Generator<string> {
  for (const directory of DIRECTORIES) {
    yield `${directory}/${LIBRARY}`;
    for (const inner of namesIn(directory))
      if (inner.includes('-linux-')) yield `${directory}/${inner}/${LIBRARY}`;
  }
  for (const command of LDCONFIG) {
    const paths = parseLdconfig(run(command));
    yield* paths;
    if (paths.length > 0) return;
  }
}

/** Paths of the library in what `ldconfig -p` prints. */
export function parseLdconfig(text: string): string[] {
  return text
    .split('\n')
    .filter((line) => line.trim().startsWith(`${LIBRARY} `))
    .flatMap((line) => line.split(' => ')[1]?.trim() ?? []);
}

/** Class, byte order and machine of a program or library; null: it is none, or not readable. */
export function elfTarget(path: string): string | null {
  const header = readHeader(path);
  if (header === null || header.toString('latin1', 1, 4) !== 'ELF' || header[0] !== 0x7f) return null;
  return `${header[4]} ${header[5]} ${header[18]} ${header[19]}`;
}

function readHeader(path: string): Buffer | null {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch {
    return null;
  }
  try {
    const header = Buffer.alloc(ELF_HEADER_BYTES);
    return readSync(file, header, 0, ELF_HEADER_BYTES, 0) === ELF_HEADER_BYTES ? header : null;
  } catch {
    // a directory of that name
    return null;
  } finally {
    closeSync(file);
  }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function run(command: string): string {
  try {
    return execFileSync(command, ['-p'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 5_000,
    });
  } catch {
    return '';
  }
}
