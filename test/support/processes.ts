/** What runs on this machine, as far as a test caused it. */
import { readdirSync, readFileSync } from 'node:fs';

/** The name of the environment variable by which a test finds all that it started. */
export const MARK = 'TEST_MARK';

export interface ProcessFacts {
  pid: number;
  /** Its process group. */
  pgrp: number;
  state: string;
  command: string;
}

/** Whether a process with this pid runs; a zombie does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  // without /proc, what can be signalled is taken for alive
  const state = factsOf(pid)?.state ?? 'R';
  return state !== 'Z' && state !== 'X';
}

export function factsOf(pid: number): ProcessFacts | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state = '', , pgrp = ''] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
    return { pid, pgrp: Number(pgrp), state, command };
  } catch {
    return null;
  }
}

/** Processes that inherited this mark. Zombies have no environment, and are not among them. */
export function markedProcesses(mark: string): ProcessFacts[] {
  const entry = `${MARK}=${mark}`;
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && environmentOf(name).includes(entry))
    .flatMap((name) => factsOf(Number(name)) ?? []);
}

/** Of all processes; a test looks for what only its own can have. */
export function runningCommands(): ProcessFacts[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => factsOf(Number(name)) ?? []);
}

export function killMarked(mark: string): void {
  for (const { pid } of markedProcesses(mark)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // it left by itself
    }
  }
}

/** The largest resident set a process ever had. */
export function peakRssBytes(pid: number): number {
  return memoryField(pid, 'VmHWM');
}

export function rssBytes(pid: number): number {
  return memoryField(pid, 'VmRSS');
}

function memoryField(pid: number, name: string): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1_024;
}

function environmentOf(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
  } catch {
    return [];
  }
}
