/**
 * Facts about processes and the host from the kernel. Where there is no `/proc` (macOS), null.
 *
 * Reads are synchronous: procfs answers from memory in some ten microseconds, less than a trip through
 * the thread pool, and the answer is still true when the caller acts on it. That holds for the files read
 * here; what walks a process's memory (see `memory.ts`) takes milliseconds and is read asynchronously.
 */
import fs from 'node:fs';
import os from 'node:os';

/** Of include/linux/sched.h. */
const PF_EXITING = 0x4;

export interface ProcStat {
  /** `R` running, `S` sleeping, `D` in the kernel, `T` stopped, `t` traced, `Z` zombie, `X` dead, `I` idle. */
  state: string;
  ppid: number;
  /** Process group. */
  pgrp: number;
  /** The kernel's `PF_…` bits. */
  flags: number;
  /** CPU time in user mode, in clock ticks (100 a second on all common systems). */
  utimeTicks: number;
  stimeTicks: number;
  /** Start in clock ticks since boot: with the pid, it names one process for the life of the system. */
  startTicks: number;
  rssPages: number;
}

/** Parses `/proc/<pid>/stat`; null if it is not what proc(5) says. */
export function parseStat(text: string): ProcStat | null {
  // The name in parentheses is the process's own choice, and may hold spaces and parentheses itself.
  const fields = text
    .slice(text.lastIndexOf(')') + 1)
    .trim()
    .split(/\s+/);
  const number = (index: number): number => Number(fields[index] ?? Number.NaN);
  const stat: ProcStat = {
    state: fields[0] ?? '',
    ppid: number(1),
    pgrp: number(2),
    flags: number(6),
    utimeTicks: number(11),
    stimeTicks: number(12),
    startTicks: number(19),
    rssPages: number(21),
  };
  const isWhole = /^[A-Za-z]$/.test(stat.state) && Object.values(stat).every((value) => !Number.isNaN(value));
  return isWhole ? stat : null;
}

/** Null: no such process, or no `/proc`. */
export function readStat(pid: number): ProcStat | null {
  const text = isPid(pid) ? read(`/proc/${pid}/stat`) : null;
  return text === null ? null : parseStat(text);
}

/** The same of one thread; the first thread of a process has its pid. */
export function readThreadStat(pid: number, tid: number): ProcStat | null {
  const text = isPid(pid) && isPid(tid) ? read(`/proc/${pid}/task/${tid}/stat`) : null;
  return text === null ? null : parseStat(text);
}

/** Whether it is on its way out, or a zombie: some of what the kernel says of it is not its own any more. */
export function isExiting(pid: number): boolean {
  return ((readStat(pid)?.flags ?? 0) & PF_EXITING) !== 0;
}

export function readStartTicks(pid: number): number | null {
  return readStat(pid)?.startTicks ?? null;
}

/**
 * Whether the very process still runs, not another that was given its pid. Where nobody may read when a process
 * started (`hidepid`, `ProtectProc=`), a pid that is alive is taken for it: who errs so waits, and takes nothing away.
 */
export function isSameProcess(pid: number, startTicks: number | null): boolean {
  if (!isAlive(pid)) return false;
  const now = readStartTicks(pid);
  return startTicks === null || now === null || now === startTicks;
}

/** Whether a process with this pid runs. A zombie, dead and not yet waited for, does not. */
export function isAlive(pid: number): boolean {
  // 0 and negative numbers would ask about process groups.
  if (!isPid(pid)) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    const isOther = error instanceof Error && 'code' in error && error.code === 'EPERM';
    if (!isOther) return false;
  }
  const state = readStat(pid)?.state;
  return state !== 'Z' && state !== 'X';
}

/** Differs after each boot; the same in all containers of a host. */
export function readBootId(): string | null {
  return read('/proc/sys/kernel/random/boot_id')?.trim() || null;
}

/** Inode of this process's pid namespace: a pid means something only inside the same one. */
export function readPidNamespace(): string | null {
  try {
    return /^pid:\[(\d+)\]$/.exec(fs.readlinkSync('/proc/self/ns/pid'))?.[1] ?? null;
  } catch {
    return null;
  }
}

/** The host's name as the kernel has it, not fitted to any key or label. */
export function rawHostName(): string {
  return os.hostname();
}

function isPid(pid: number): boolean {
  return Number.isInteger(pid) && pid > 0;
}

function read(path: string): string | null {
  try {
    return fs.readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
