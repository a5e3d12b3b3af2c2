/**
 * A process as the kernel sees it, where its JavaScript says nothing: what its main thread waits for, and
 * what it has started. Needs no rights but those over a process of one's own; less than a millisecond.
 */
import fs from 'node:fs';
import type { NativeSide, StartedProcess } from '../dump.js';
import { parseStat, readThreadStat } from './proc.js';
import { socketPeer } from './sockets.js';
import { parseSyscall, type Syscall } from './syscalls.js';

const MAX_PATH_BYTES = 256;
const MAX_COMMAND_LENGTH = 200;
const MAX_PROCESSES = 10;
/** Of a clock tick of the kernel's, on all common systems. */
const CLOCK_TICK_MS = 10;

export interface ThreadCpu {
  state: string;
  cpuMs: number;
}

/** null: no such thread, or no `/proc`. */
export function readThreadCpu(pid: number, tid: number): ThreadCpu | null {
  const stat = readThreadStat(pid, tid);
  return stat && { state: stat.state, cpuMs: (stat.utimeTicks + stat.stimeTicks) * CLOCK_TICK_MS };
}

/** `cpuPercent` is the caller's to know, who looks twice. */
export function readNativeSide(pid: number, processes: readonly StartedProcess[]): NativeSide | null {
  const stat = readThreadStat(pid, pid);
  if (!stat) return null;
  const thread = `/proc/${pid}/task/${pid}`;
  const syscall = parseSyscall(read(`${thread}/syscall`) ?? '', process.arch);
  const wchan = read(`${thread}/wchan`);
  const call = syscall === 'running' || syscall === null ? null : syscall;
  return {
    state: stat.state,
    wchan: wchan === null || wchan === '0' || wchan === '' ? null : wchan,
    syscall: syscall === 'running' ? syscall : (call?.name ?? null),
    target: call && targetOf(pid, call),
    command: processes[0]?.command ?? null,
    cpuPercent: null,
  };
}

/** What the process has started, and is still there: the oldest first. For which job, the process alone knows. */
export function readStartedProcesses(pid: number): StartedProcess[] {
  const uptimeMs = Number.parseFloat(read('/proc/uptime') ?? '') * 1_000;
  const pids = listOf(`/proc/${pid}/task`).flatMap((tid) =>
    (read(`/proc/${pid}/task/${tid}/children`) ?? '').split(' ').filter((word) => word !== ''),
  );
  const found = pids.slice(0, MAX_PROCESSES).flatMap((childPid): StartedProcess[] => {
    const stat = parseStat(read(`/proc/${childPid}/stat`) ?? '');
    if (!stat) return [];
    const command = (read(`/proc/${childPid}/cmdline`) ?? '').split('\0').join(' ').trim();
    const ageMs = Math.round(uptimeMs - stat.startTicks * CLOCK_TICK_MS);
    return [
      {
        pid: Number(childPid),
        command: command.slice(0, MAX_COMMAND_LENGTH),
        state: stat.state,
        ageMs: Number.isFinite(ageMs) ? Math.max(0, ageMs) : null,
        job: null,
      },
    ];
  });
  return found.sort((a, b) => (b.ageMs ?? 0) - (a.ageMs ?? 0));
}

function targetOf(pid: number, { about }: Syscall): string | null {
  if (about === null) return null;
  try {
    if ('pathAt' in about) return readPath(pid, about.pathAt);
    const link = fs.readlinkSync(`/proc/${pid}/fd/${about.descriptor}`);
    return socketPeer(pid, link) ?? link;
  } catch {
    // it is closed already, or not ours to read
    return null;
  }
}

/** The text that the call was given. */
function readPath(pid: number, address: number): string | null {
  const memory = fs.openSync(`/proc/${pid}/mem`, 'r');
  try {
    const buffer = Buffer.alloc(MAX_PATH_BYTES);
    const length = fs.readSync(memory, buffer, 0, buffer.length, address);
    const end = buffer.subarray(0, length).indexOf(0);
    return end > 0 ? buffer.toString('utf8', 0, end) : null;
  } finally {
    fs.closeSync(memory);
  }
}

function listOf(path: string): string[] {
  try {
    return fs.readdirSync(path);
  } catch {
    return [];
  }
}

function read(path: string): string | null {
  try {
    return fs.readFileSync(path, 'utf8').trim();
  } catch {
    return null;
  }
}
